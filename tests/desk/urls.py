"""The one page of the tests, and the admin."""

from django.contrib import admin
from django.urls import path

from tests.desk.views import open_ticket

urlpatterns = [path("open", open_ticket), path("admin/", admin.site.urls)]
