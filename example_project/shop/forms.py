"""What the page asks for."""

from django import forms

from orders.models import Product


class OrderForm(forms.Form):
    """Fields of an order, as a browser sends them: texts, of which it makes what the command needs."""

    email = forms.EmailField(max_length=200, widget=forms.EmailInput(attrs={"placeholder": "you@example.org"}))
    product = forms.ModelChoiceField(Product.objects.order_by("name"), empty_label=None)
    quantity = forms.IntegerField(min_value=1, max_value=100, initial=1)
