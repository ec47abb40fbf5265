"""What API Gateway is in the cloud, and the page, the documents and the console that only a laptop needs."""
