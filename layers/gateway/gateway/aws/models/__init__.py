"""Adapters to model services: Bedrock and SageMaker."""
