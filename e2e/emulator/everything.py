"""Prints what there is in the account as JSON: names and ARNs by the resources' types."""

import json

import boto3


def every(service, operation, path):
    return boto3.client(service).get_paginator(operation).paginate().search(path)


print(json.dumps({
    type: [name for names in lists for name in names if name]
    for type, lists in {
        "AWS::CloudWatch::Alarm": [every("cloudwatch", "describe_alarms", "MetricAlarms[].AlarmName")],
        "AWS::CloudWatch::Dashboard": [every("cloudwatch", "list_dashboards", "DashboardEntries[].DashboardName")],
        "AWS::DynamoDB::Table": [every("dynamodb", "list_tables", "TableNames[]")],
        "AWS::Events::EventBus": [[b["Name"] for b in boto3.client("events").list_event_buses()["EventBuses"]]],
        "AWS::IAM::Role": [every("iam", "list_roles", "Roles[].RoleName")],
        "AWS::Lambda::Function": [every("lambda", "list_functions", "Functions[].FunctionName")],
        "AWS::Logs::LogGroup": [every("logs", "describe_log_groups", "logGroups[].logGroupName")],
        "AWS::S3::Bucket": [[b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]]],
        "AWS::SNS::Topic": [every("sns", "list_topics", "Topics[].TopicArn")],
        "AWS::SQS::Queue": [[url.rsplit("/", 1)[1] for url in every("sqs", "list_queues", "QueueUrls[]")]],
        "AWS::Scheduler::Schedule": [every("scheduler", "list_schedules", "Schedules[].Name")],
        "AWS::SecretsManager::Secret": [
            every("secretsmanager", "list_secrets", "SecretList[].Name"),
            every("secretsmanager", "list_secrets", "SecretList[].ARN"),
        ],
        "AWS::StepFunctions::StateMachine": [every("stepfunctions", "list_state_machines", "stateMachines[].stateMachineArn")],
    }.items()
}))
