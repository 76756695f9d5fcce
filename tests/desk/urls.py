"""The one page of the tests."""

from django.urls import path

from tests.desk.views import open_ticket

urlpatterns = [path("open", open_ticket)]
