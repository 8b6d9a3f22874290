"""What operators see: log lines and Prometheus series. The only room that knows their libraries."""
