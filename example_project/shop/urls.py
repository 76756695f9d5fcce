"""The page for people, the API for programs, and the admin."""

from django.contrib import admin
from django.urls import path

from orders import api
from shop import views

urlpatterns = [
    path("", views.index, name="index"),
    path("admin/", admin.site.urls),
    path("orders/", views.place, name="place"),
    path("orders/<int:order_id>/checkout", views.check_out, name="checkout"),
    path("orders/<int:order_id>/pay", views.pay, name="pay"),
    path("orders/<int:order_id>/cancel", views.cancel, name="cancel"),
    path("api/orders/", api.orders),
    path("api/orders/<int:order_id>/checkout", api.check_out),
    path("api/orders/<int:order_id>/pay", api.pay),
    path("api/orders/<int:order_id>/cancel", api.cancel),
]
