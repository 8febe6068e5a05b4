# Each validation refuses what it is for.

mock_provider "archive" {}

mock_provider "aws" {}

variables {
  packages = "tests/packages"
}

run "name_1" {
  command = plan
  variables {
    name = "Redress"
  }
  expect_failures = [var.name]
}

run "name_2" {
  command = plan
  variables {
    name = "a-very-long-name-of-a-deployment"
  }
  expect_failures = [var.name]
}

run "ceiling_1" {
  command = plan
  variables {
    ceiling = "aply"
  }
  expect_failures = [var.ceiling]
}

run "rules_1" {
  command = plan
  variables {
    rules = "no/such/folder"
  }
  expect_failures = [var.rules]
}

run "architecture_1" {
  command = plan
  variables {
    architecture = "arm"
  }
  expect_failures = [var.architecture]
}

run "member_accounts_1" {
  command = plan
  variables {
    member_accounts = ["12345"]
  }
  expect_failures = [var.member_accounts]
}

run "external_id_1" {
  command = plan
  variables {
    external_id = "a b"
  }
  expect_failures = [var.external_id]
}

run "external_id_2" {
  command = plan
  variables {
    external_id = "x"
  }
  expect_failures = [var.external_id]
}

run "concurrency_1" {
  command = plan
  variables {
    concurrency = { maximum = 1 }
  }
  expect_failures = [var.concurrency]
}

run "concurrency_2" {
  command = plan
  variables {
    concurrency = { maximum = 20, reserved = 10 }
  }
  expect_failures = [var.concurrency]
}

run "retention_1" {
  command = plan
  variables {
    retention = { records = 0 }
  }
  expect_failures = [var.retention]
}

run "retention_2" {
  command = plan
  variables {
    retention = { logs = 2 }
  }
  expect_failures = [var.retention]
}

run "kms_key_arn_1" {
  command = plan
  variables {
    kms_key_arn = "alias/mine"
  }
  expect_failures = [var.kms_key_arn]
}

run "notify_1" {
  command = plan
  variables {
    notify = { alarms = ["nobody"] }
  }
  expect_failures = [var.notify]
}

run "notify_2" {
  command = plan
  variables {
    notify = { outcomes = ["no body@example.com"] }
  }
  expect_failures = [var.notify]
}

run "archive_1" {
  command = plan
  variables {
    archive = { bucket = "A" }
  }
  expect_failures = [var.archive]
}

run "archive_2" {
  command = plan
  variables {
    archive = { bucket = "bucket", days = 0 }
  }
  expect_failures = [var.archive]
}

run "archive_3" {
  command = plan
  variables {
    archive = { bucket = "bucket", mode = "NONE" }
  }
  expect_failures = [var.archive]
}

run "cognito_1" {
  command = plan
  variables {
    cognito = { user_pools = [] }
  }
  expect_failures = [var.cognito]
}

run "cognito_2" {
  command = plan
  variables {
    cognito = { user_pools = ["../x"] }
  }
  expect_failures = [var.cognito]
}

run "cognito_3" {
  command = plan
  variables {
    cognito = { user_pools = ["eu-west-1_AbCdEfGhI"], ttl_days = 0 }
  }
  expect_failures = [var.cognito]
}

run "cognito_4" {
  command = plan
  variables {
    cognito = { user_pools = ["eu-west-1_AbCdEfGhI"], interval_minutes = 1441 }
  }
  expect_failures = [var.cognito]
}

run "cognito_5" {
  command = plan
  variables {
    cognito = { user_pools = ["eu-west-1_AbCdEfGhI"], user_updates_per_second = 26 }
  }
  expect_failures = [var.cognito]
}

run "finding_formats_1" {
  command = plan
  variables {
    finding_formats = ["CSV"]
  }
  expect_failures = [var.finding_formats]
}

run "finding_formats_2" {
  command = plan
  variables {
    finding_formats = []
  }
  expect_failures = [var.finding_formats]
}

run "permissions_boundary_1" {
  command = plan
  variables {
    permissions_boundary = "boundary"
  }
  expect_failures = [var.permissions_boundary]
}

run "operators_1" {
  command = plan
  variables {
    operators = ["somebody"]
  }
  expect_failures = [var.operators]
}
