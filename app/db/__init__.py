"""PostgreSQL: connections, tables, and every SQL statement of the service."""
