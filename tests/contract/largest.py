"""A stack at its largest: each parameter at the template's limit, each name as long as AWS makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.check.expand import Stack

# A name of AWS's own for a resource: the stack's, the logical id and 13 characters, cut where the service's names end.
# (CloudFormation user guide, "Logical and physical ids"; the lengths are those of the services' own pages.)
GENERATED = {
    "AWS::DynamoDB::Table": 255,
    "AWS::IAM::Role": 64,
    "AWS::Lambda::Function": 64,
    "AWS::S3::Bucket": 63,
    "AWS::SNS::Topic": 256,
    "AWS::SQS::Queue": 80,
    "AWS::StepFunctions::StateMachine": 80,
}
# The longest of each, though not of one and the same place: GovCloud's partition, a region of Asia.
PARTITION, REGION, ACCOUNT = "aws-us-gov", "ap-southeast-1", "123456789012"
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{place}:table/{name}",
    "AWS::Events::Rule": "events:{place}:rule/{name}",
    "AWS::IAM::Role": f"iam::{ACCOUNT}:role/{{name}}",
    "AWS::Lambda::Alias": "lambda:{place}:function:{name}:live",
    "AWS::Lambda::Function": "lambda:{place}:function:{name}",
    "AWS::Lambda::LayerVersion": "lambda:{place}:layer:{name}:9999",
    "AWS::Logs::LogGroup": "logs:{place}:log-group:{name}:*",
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::SNS::Topic": "sns:{place}:{name}",
    "AWS::SQS::Queue": "sqs:{place}:{name}",
    "AWS::StepFunctions::StateMachine": "states:{place}:stateMachine:{name}",
    "AWS::WAFv2::WebACL": "wafv2:{place}:regional/webacl/{name}/6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10",
}
NAMED_BY = {
    "AWS::Athena::WorkGroup": "Name",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
REF_IS_ARN = {"AWS::Lambda::Alias", "AWS::Lambda::LayerVersion", "AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"}


def uri(most: int) -> str:
    return "s3://" + "b" * 63 + "/" + "k" * (most - 69)


def largest_json(opening: str, pair: str, closing: str, most: int) -> str:
    """An object of as many short texts as it takes: the quotation marks cost most where JSON is put into JSON."""
    number, rest = divmod(most - len(opening) - len(closing), len(pair))
    return opening + pair * number + " " * rest + closing


def largest(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The longest allowed text of each parameter without a fixed set of values; the longest number."""
    most = {name: said["MaxLength"] for name, said in parameters.items() if "MaxLength" in said}
    found = {
        "AnalyticsDatabaseName": "d" * 128,
        "CorsOrigin": "https://" + "c" * (most.get("CorsOrigin", 0) - 8),
        "CurUri": uri(most.get("CurUri", 0)).replace("k", "😀"),
        "ModelRoutes": largest_json('{"a":{', '"a":', "}}", most.get("ModelRoutes", 8)),
        "ModelRoutesUri": uri(most.get("ModelRoutesUri", 0)),
        "PriceOverlayUri": uri(most.get("PriceOverlayUri", 0)),
        "Release": "R" * 10,
        "SageMakerEndpoints": largest_json("{", '"a":"b",', '"a":"b"}', most.get("SageMakerEndpoints", 9)),
        "StageName": "v" * 128,
        "TenantRoleArn": f"arn:{PARTITION}:iam::{ACCOUNT}:role/".ljust(most.get("TenantRoleArn", 0), "r"),
    }
    numbers = {
        name: str(said.get("MaxValue", 999_999_999_999))
        for name, said in parameters.items()
        if said["Type"] == "Number" and "AllowedValues" not in said
    }
    return {name: text for name, text in {**found, **numbers}.items() if name in parameters}


class LargestStack(Stack):
    """The completely resolved resources of an expanded template."""

    def __init__(self, document: Mapping[str, Any], name: str, given: Mapping[str, str]):
        self._name = name
        super().__init__(document, given, REGION)

    def resolved(self) -> dict[str, dict[str, Any]]:
        return {
            logical_id: {**resource, "Properties": self.resolve(resource.get("Properties") or {})}
            for logical_id, resource in self.resources.items()
        }

    def ref(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": PARTITION,
            "AWS::StackName": self._name,
            "AWS::StackId": f"arn:{PARTITION}:cloudformation:{REGION}:{ACCOUNT}:stack/{self._name}/1b4db7eb-4057-4f5b-8a35-9f1a3f0c6d52",
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters or name not in self.resources:
            return super().ref(name)
        kind = self.resources[name]["Type"]
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self._physical(name)}"
        return self.attribute(name, "Arn") if kind in REF_IS_ARN else self._physical(name)

    def attribute(self, name: str, attribute: str) -> Any:
        kind = self.resources[name]["Type"]
        if attribute.lower().endswith("arn"):
            place = f"{REGION}:{ACCOUNT}"
            return f"arn:{PARTITION}:" + ARNS.get(kind, "service:{place}:{name}").format(
                place=place, name=self._physical(name)
            )
        return "9" if attribute == "Version" else self._physical(name)

    def _physical(self, name: str) -> str:
        resource = self.resources[name]
        kind, properties = resource["Type"], resource.get("Properties") or {}
        if NAMED_BY.get(kind) in properties:
            return str(self.resolve(properties[NAMED_BY[kind]]))
        if kind == "AWS::Lambda::Alias":
            return self._physical(properties["FunctionName"]["Ref"])
        if kind == "AWS::Glue::Database":
            return str(self.resolve(properties["DatabaseInput"]["Name"]))
        suffix = f"-{name}-{'X' * 13}"
        return self._name[: GENERATED.get(kind, 64) - len(suffix)] + suffix
