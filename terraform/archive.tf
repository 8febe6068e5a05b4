# A second copy of the audit trail, which nobody can alter before its time: the dispatcher's log holds every record,
# and Firehose takes its `audit` lines to a bucket under object lock.

locals {
  archives = var.archive == null ? [] : [var.archive]
}

resource "aws_s3_bucket" "archive" {
  # checkov:skip=CKV_AWS_18: who reads the archive stands in CloudTrail's data events, where they are switched on
  # checkov:skip=CKV_AWS_144: one copy beside the table; replicate it where your rules ask for more
  # checkov:skip=CKV2_AWS_62: nothing waits for new objects
  # checkov:skip=CKV_AWS_145: AES256 of S3; `kms_key_arn` takes a key of yours
  count = length(local.archives)

  bucket              = var.archive.bucket
  object_lock_enabled = true
  force_destroy       = false
  tags                = var.tags
}

resource "aws_s3_bucket_versioning" "archive" {
  count = length(local.archives)

  bucket = aws_s3_bucket.archive[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "archive" {
  count = length(local.archives)

  bucket = aws_s3_bucket.archive[0].id
  rule {
    default_retention {
      mode = var.archive.mode
      days = var.archive.days
    }
  }

  depends_on = [aws_s3_bucket_versioning.archive]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "archive" {
  count = length(local.archives)

  bucket = aws_s3_bucket.archive[0].id
  rule {
    bucket_key_enabled = var.kms_key_arn != null
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "archive" {
  count = length(local.archives)

  bucket                  = aws_s3_bucket.archive[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "archive" {
  count = length(local.archives)

  bucket = aws_s3_bucket.archive[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.archive[0].arn, "${aws_s3_bucket.archive[0].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.archive]
}

# Objects go when they may, and uploads that were cut off before.
resource "aws_s3_bucket_lifecycle_configuration" "archive" {
  count = length(local.archives)

  bucket = aws_s3_bucket.archive[0].id

  rule {
    id     = "after-the-lock"
    status = "Enabled"
    filter {}
    expiration {
      days = var.archive.days + 1
    }
    noncurrent_version_expiration {
      noncurrent_days = 1
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.archive]
}

resource "aws_kinesis_firehose_delivery_stream" "archive" {
  count = length(local.archives)

  name        = "${var.name}-archive"
  destination = "extended_s3"
  tags        = var.tags

  server_side_encryption {
    enabled  = true
    key_type = var.kms_key_arn == null ? "AWS_OWNED_CMK" : "CUSTOMER_MANAGED_CMK"
    key_arn  = var.kms_key_arn
  }

  extended_s3_configuration {
    role_arn            = aws_iam_role.archive[0].arn
    bucket_arn          = aws_s3_bucket.archive[0].arn
    prefix              = "records/!{timestamp:yyyy/MM/dd}/"
    error_output_prefix = "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"
    compression_format  = "GZIP"
    buffering_interval  = 60
    buffering_size      = 5
    kms_key_arn         = var.kms_key_arn

    # From what CloudWatch Logs sends to one line a record.
    processing_configuration {
      enabled = true
      processors {
        type = "Decompression"
        parameters {
          parameter_name  = "CompressionFormat"
          parameter_value = "GZIP"
        }
      }
      processors {
        type = "CloudWatchLogProcessing"
        parameters {
          parameter_name  = "DataMessageExtraction"
          parameter_value = "true"
        }
      }
      processors {
        type = "AppendDelimiterToRecord"
      }
    }
  }
}

resource "aws_cloudwatch_log_subscription_filter" "archive" {
  count = length(local.archives)

  name            = "${var.name}-archive"
  log_group_name  = aws_cloudwatch_log_group.dispatcher.name
  filter_pattern  = "{ $.target = \"audit\" }"
  destination_arn = aws_kinesis_firehose_delivery_stream.archive[0].arn
  role_arn        = aws_iam_role.archive_logs[0].arn
  depends_on      = [aws_iam_role_policy.archive_logs]
}

# Firehose into the bucket.

resource "aws_iam_role" "archive" {
  count = length(local.archives)

  name                 = "${var.name}-archive"
  description          = "Takes audit records to the archive bucket"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "firehose.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "archive" {
  count = length(local.archives)

  name = "archive"
  role = aws_iam_role.archive[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = flatten([
      for part in concat(["archive"], var.kms_key_arn == null ? [] : ["key"]) :
      jsondecode(templatefile("${path.module}/policies/${part}.json", merge(local.place, {
        key    = coalesce(var.kms_key_arn, "none")
        bucket = var.archive.bucket
      }))).Statement
    ])
  })
}

# CloudWatch Logs into Firehose.

resource "aws_iam_role" "archive_logs" {
  count = length(local.archives)

  name                 = "${var.name}-archive-logs"
  description          = "Takes audit records from the dispatcher's log"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "archive_logs" {
  count = length(local.archives)

  name   = "archive-logs"
  role   = aws_iam_role.archive_logs[0].id
  policy = templatefile("${path.module}/policies/archive-logs.json", local.place)
}
