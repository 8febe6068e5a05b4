"""Makes resources of terraform/ in an emulator, as the AWS provider would: a JSON object a line in
(`kind`, `account`, `arguments`), a line with the attributes that only AWS knows out. With `service` and `operation` in
place of `kind` it makes that one call and gives its answer.

Every argument is used, or stands in UNKNOWN with the reason why an emulator has no notion of it: one that is neither is
an error, so that nothing of the sources is left out unnoticed.
"""

import json
import sys

import boto3

URL, HUB, REGION = sys.argv[1:]

# What ministack has no notion of.
UNKNOWN = {
    "aws_lambda_function": {
        "reserved_concurrent_executions": "runs are not limited",
        "source_code_hash": "for Terraform alone",
        "tracing_config": "there is no X-Ray",
    },
    "aws_lambda_layer_version": {"source_code_hash": "for Terraform alone"},
}


class Arguments(dict):
    """Arguments that are taken out as they are used."""

    def __init__(self, kind, arguments):
        super().__init__({name: value for name, value in arguments.items() if name not in UNKNOWN.get(kind, {})})
        self.pop("tags", None)

    def some(self, **names):
        """Those that are there, by the names that the API has for them."""
        return {theirs: self.pop(ours) for theirs, ours in names.items() if ours in self}

    def one(self, name):
        """A block of which there is one."""
        (block,) = self.pop(name)
        return block


def client(service, account):
    url = HUB if service == "securityhub" else URL
    return boto3.client(service, endpoint_url=url, region_name=REGION, aws_access_key_id=account, aws_secret_access_key="x")


def sqs_queue(a, account):
    attributes = a.some(
        MessageRetentionPeriod="message_retention_seconds",
        VisibilityTimeout="visibility_timeout_seconds",
        SqsManagedSseEnabled="sqs_managed_sse_enabled",
        RedrivePolicy="redrive_policy",
    )
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
    sqs = client("sqs", account)
    url = sqs.create_queue(QueueName=a.pop("name"), Attributes=text)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return {"id": url, "url": url, "arn": arn}


def sqs_queue_policy(a, account):
    client("sqs", account).set_queue_attributes(QueueUrl=a.pop("queue_url"), Attributes={"Policy": a.pop("policy")})
    return {}


def sqs_queue_redrive_allow_policy(a, account):
    policy = {"RedriveAllowPolicy": a.pop("redrive_allow_policy")}
    client("sqs", account).set_queue_attributes(QueueUrl=a.pop("queue_url"), Attributes=policy)
    return {}


def dynamodb_table(a, account):
    dynamodb = client("dynamodb", account)
    name = a.pop("name")
    keys = [{"AttributeName": a.pop("hash_key"), "KeyType": "HASH"}]
    if "range_key" in a:
        keys.append({"AttributeName": a.pop("range_key"), "KeyType": "RANGE"})
    stream = a.some(StreamEnabled="stream_enabled", StreamViewType="stream_view_type")
    encryption = a.one("server_side_encryption")
    made = dynamodb.create_table(
        TableName=name,
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": one["name"], "AttributeType": one["type"]} for one in a.pop("attribute")],
        BillingMode=a.pop("billing_mode"),
        **a.some(DeletionProtectionEnabled="deletion_protection_enabled"),
        **({"StreamSpecification": stream} if stream else {}),
        **({"SSESpecification": {"Enabled": True}} if encryption["enabled"] else {}),
    )["TableDescription"]
    ttl = a.one("ttl")
    specification = {"Enabled": ttl["enabled"], "AttributeName": ttl["attribute_name"]}
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)
    recovery = {"PointInTimeRecoveryEnabled": a.one("point_in_time_recovery")["enabled"]}
    dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
    return {"id": name, "arn": made["TableArn"], "stream_arn": made.get("LatestStreamArn")}


def iam_role(a, account):
    role = client("iam", account).create_role(
        RoleName=a.pop("name"),
        AssumeRolePolicyDocument=a.pop("assume_role_policy"),
        **a.some(Description="description", MaxSessionDuration="max_session_duration", PermissionsBoundary="permissions_boundary"),
    )["Role"]
    return {"id": role["RoleName"], "arn": role["Arn"]}


def iam_role_policy(a, account):
    client("iam", account).put_role_policy(RoleName=a.pop("role"), PolicyName=a.pop("name"), PolicyDocument=a.pop("policy"))
    return {}


def iam_policy(a, account):
    policy = client("iam", account).create_policy(
        PolicyName=a.pop("name"), PolicyDocument=a.pop("policy"), **a.some(Description="description")
    )["Policy"]
    return {"id": policy["Arn"], "arn": policy["Arn"]}


def iam_role_policy_attachment(a, account):
    client("iam", account).attach_role_policy(RoleName=a.pop("role"), PolicyArn=a.pop("policy_arn"))
    return {}


def cloudwatch_log_group(a, account):
    logs, name = client("logs", account), a.pop("name")
    logs.create_log_group(logGroupName=name)
    logs.put_retention_policy(logGroupName=name, retentionInDays=a.pop("retention_in_days"))
    return {"id": name, "arn": f"arn:aws:logs:{REGION}:{account}:log-group:{name}"}


def content(path):
    with open(path, "rb") as file:
        return file.read()


def lambda_layer_version(a, account):
    made = client("lambda", account).publish_layer_version(
        LayerName=a.pop("layer_name"),
        Content={"ZipFile": content(a.pop("filename"))},
        **a.some(Description="description", CompatibleRuntimes="compatible_runtimes"),
    )
    return {"id": made["LayerVersionArn"], "arn": made["LayerVersionArn"]}


def lambda_function(a, account):
    logging = a.one("logging_config")
    names = {
        "log_format": "LogFormat",
        "application_log_level": "ApplicationLogLevel",
        "system_log_level": "SystemLogLevel",
        "log_group": "LogGroup",
    }
    made = client("lambda", account).create_function(
        FunctionName=a.pop("function_name"),
        Code={"ZipFile": content(a.pop("filename"))},
        Environment={"Variables": a.one("environment")["variables"]},
        LoggingConfig={names[name]: value for name, value in logging.items()},
        **a.some(
            Architectures="architectures",
            Description="description",
            Handler="handler",
            Layers="layers",
            MemorySize="memory_size",
            Role="role",
            Runtime="runtime",
            Timeout="timeout",
        ),
    )
    return {"id": made["FunctionName"], "arn": made["FunctionArn"]}


def lambda_event_source_mapping(a, account):
    more = {}
    if "scaling_config" in a:
        more["ScalingConfig"] = {"MaximumConcurrency": a.one("scaling_config")["maximum_concurrency"]}
    if "filter_criteria" in a:
        filters = a.one("filter_criteria")["filter"]
        more["FilterCriteria"] = {"Filters": [{"Pattern": one["pattern"]} for one in filters]}
    if "destination_config" in a:
        failure = a.one("destination_config")["on_failure"][0]
        more["DestinationConfig"] = {"OnFailure": {"Destination": failure["destination_arn"]}}
    made = client("lambda", account).create_event_source_mapping(
        **a.some(
            BatchSize="batch_size",
            EventSourceArn="event_source_arn",
            FunctionName="function_name",
            FunctionResponseTypes="function_response_types",
            MaximumRecordAgeInSeconds="maximum_record_age_in_seconds",
            MaximumRetryAttempts="maximum_retry_attempts",
            StartingPosition="starting_position",
        ),
        **more,
    )
    return {"id": made["UUID"]}


def lambda_function_event_invoke_config(a, account):
    failure = a.one("destination_config")["on_failure"][0]
    client("lambda", account).put_function_event_invoke_config(
        DestinationConfig={"OnFailure": {"Destination": failure["destination"]}},
        **a.some(
            FunctionName="function_name",
            MaximumEventAgeInSeconds="maximum_event_age_in_seconds",
            MaximumRetryAttempts="maximum_retry_attempts",
        ),
    )
    return {}


def lambda_permission(a, account):
    client("lambda", account).add_permission(
        **a.some(
            Action="action",
            FunctionName="function_name",
            Principal="principal",
            SourceAccount="source_account",
            SourceArn="source_arn",
            StatementId="statement_id",
        )
    )
    return {}


def cloudwatch_event_rule(a, account):
    name = a["name"]
    made = client("events", account).put_rule(
        **a.some(
            Description="description", EventPattern="event_pattern", Name="name", ScheduleExpression="schedule_expression"
        )
    )
    return {"id": name, "arn": made["RuleArn"]}


def cloudwatch_event_target(a, account):
    target = {"Id": a.pop("target_id"), "Arn": a.pop("arn"), **a.some(Input="input")}
    if "dead_letter_config" in a:
        target["DeadLetterConfig"] = {"Arn": a.one("dead_letter_config")["arn"]}
    if "input_transformer" in a:
        transformer = a.one("input_transformer")
        target["InputTransformer"] = {
            "InputPathsMap": transformer["input_paths"],
            "InputTemplate": transformer["input_template"],
        }
    answer = client("events", account).put_targets(Rule=a.pop("rule"), Targets=[target])
    assert not answer["FailedEntryCount"], answer
    return {}


def securityhub_action_target(a, account):
    made = client("securityhub", account).create_action_target(
        **a.some(Description="description", Id="identifier", Name="name")
    )
    return {"id": made["ActionTargetArn"], "arn": made["ActionTargetArn"]}


def sns_topic(a, account):
    arn = client("sns", account).create_topic(Name=a.pop("name"))["TopicArn"]
    return {"id": arn, "arn": arn}


def sns_topic_policy(a, account):
    client("sns", account).set_topic_attributes(
        TopicArn=a.pop("arn"), AttributeName="Policy", AttributeValue=a.pop("policy")
    )
    return {}


def sns_topic_subscription(a, account):
    client("sns", account).subscribe(**a.some(Endpoint="endpoint", Protocol="protocol", TopicArn="topic_arn"))
    return {}


def cloudwatch_metric_alarm(a, account):
    dimensions = [{"Name": name, "Value": value} for name, value in a.pop("dimensions").items()]
    client("cloudwatch", account).put_metric_alarm(
        Dimensions=dimensions,
        **a.some(
            AlarmActions="alarm_actions",
            AlarmDescription="alarm_description",
            AlarmName="alarm_name",
            ComparisonOperator="comparison_operator",
            EvaluationPeriods="evaluation_periods",
            MetricName="metric_name",
            Namespace="namespace",
            OKActions="ok_actions",
            Period="period",
            Statistic="statistic",
            Threshold="threshold",
            TreatMissingData="treat_missing_data",
        ),
    )
    return {}


def cloudwatch_dashboard(a, account):
    client("cloudwatch", account).put_dashboard(DashboardBody=a.pop("dashboard_body"), DashboardName=a["dashboard_name"])
    return {"dashboard_name": a.pop("dashboard_name")}


for line in sys.stdin:
    asked = json.loads(line)
    kind = asked.get("kind", "a call")
    try:
        if "operation" in asked:
            call = getattr(client(asked["service"], asked["account"]), asked["operation"])
            print(json.dumps({"attributes": call(**asked["arguments"])}, default=str), flush=True)
            continue
        make = globals()[kind.removeprefix("aws_")]
        arguments = Arguments(kind, asked["arguments"])
        attributes = make(arguments, asked["account"])
        left = {"error": f"not used: {', '.join(sorted(arguments))}"} if arguments else {}
        answer = {"attributes": {name: value for name, value in attributes.items() if value is not None}, **left}
    except KeyError as error:
        answer = {"error": f"{error} is not known for {kind}"}
    except Exception as error:  # whatever boto3 says goes back to the test
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
