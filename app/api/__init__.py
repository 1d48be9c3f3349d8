"""HTTP only: routes, schemas, problems. What a route does stands in `app.services`."""
