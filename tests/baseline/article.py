"""The function of the AWS article on Security Hub custom actions, for S3.14: what a benchmark compares with.

One client an event, one call, nothing read before and nothing verified after.
"""

import boto3


def handler(event, context):
    s3 = boto3.client("s3")
    arn = event["detail"]["findings"][0]["Resources"][0]["Id"]
    bucket = arn.split(":")[-1]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return {"bucket": bucket, "versioning": "Enabled"}
