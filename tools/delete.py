"""delete.py STACK [ARGUMENT...]: deletes a stack by `sam delete`, then its bucket if that is empty.

CloudFormation leaves the bucket alone whatever is in it: the template says so, because the files of years must not go with
a stack. A bucket that holds data stays, and its name is printed. ARGUMENT goes to `sam delete`.
"""

import os
import subprocess
import sys

import boto3
from botocore.exceptions import ClientError


def stacks(session, stack):
    try:
        return session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError:
        return []


def main(stack, arguments):
    region = arguments[arguments.index("--region") + 1] if "--region" in arguments else None
    session = boto3.Session(region_name=region)
    resources = session.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    buckets = [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::S3::Bucket"]
    sam = os.path.join(os.path.dirname(sys.executable), "sam")
    code = subprocess.run([sam, "delete", "--stack-name", stack, *arguments]).returncode
    if code != 0:
        sys.exit(code)
    if stacks(session, stack):  # somebody answered no
        return
    s3 = session.client("s3")
    for bucket in buckets:
        try:
            s3.delete_bucket(Bucket=bucket)
            print(f"{stack} is deleted, its empty bucket too: nothing of it is left.")
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketNotEmpty":
                raise
            print(f"{stack} is deleted, but for the bucket {bucket}, which holds data and costs what they cost.")
            print("Once you don't need them: empty it, old versions too, in the S3 console, and delete it there.")


main(sys.argv[1], sys.argv[2:])
