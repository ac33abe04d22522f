"""Where models are called: Bedrock and SageMaker."""
