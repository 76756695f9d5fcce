"""The page for people, and the API for programs."""

from django.urls import path

from orders import api
from shop import views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders/", views.place, name="place"),
    path("orders/<int:order_id>/pay", views.pay, name="pay"),
    path("orders/<int:order_id>/cancel", views.cancel, name="cancel"),
    path("api/orders/", api.orders),
    path("api/orders/<int:order_id>/pay", api.pay),
    path("api/orders/<int:order_id>/cancel", api.cancel),
]
