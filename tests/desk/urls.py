"""No pages: the views of the tests are called directly."""

urlpatterns: list[object] = []
