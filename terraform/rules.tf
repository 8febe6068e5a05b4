# What EventBridge lets through is made of the files that the router reads: a rule stands in one place.

locals {
  rules_path   = coalesce(var.rules, "${path.module}/../rules/default.yaml")
  rules_is_one = try(fileexists(local.rules_path), false)
  rules_folder = local.rules_is_one ? dirname(local.rules_path) : local.rules_path

  # The files that the router takes, in its order: by name, exemptions last, tests and hidden files not at all.
  rules_found = local.rules_is_one ? [basename(local.rules_path)] : sort([
    for file in fileset(local.rules_folder, "*.{yaml,yml}") : file
    if !startswith(file, ".") && !can(regex("-tests[.]ya?ml$", file))
  ])
  exemption_files = local.rules_is_one ? [] : [for file in local.rules_found : file if can(regex("^exemptions[.]ya?ml$", file))]
  rule_files      = [for file in local.rules_found : file if !contains(local.exemption_files, file)]
  layer_files     = concat(local.rule_files, local.exemption_files)

  # What `redress rules check` prints and every record holds: the same sum over the same bytes.
  rules_hash = substr(sha256(join("", [for file in local.layer_files : "${filesha256("${local.rules_folder}/${file}")}\n"])), 0, 16)

  # `control` is one or a list. What is left out is what the router takes it for.
  rules = flatten([
    for file in local.rule_files : [
      for rule in yamldecode(file("${local.rules_folder}/${file}")).rules : {
        name       = rule.name
        controls   = sort(distinct(flatten([rule.control])))
        remediator = rule.remediator
        # To this reader of YAML, `off` is `false`.
        automatic = replace(coalesce(try(tostring(rule.automatic), null), "plan"), "false", "off")
        # As JSON, because patterns differ in their types.
        when   = try(rule.when, null) == null ? "{}" : jsonencode(rule.when)
        action = try(rule.action, null)
      }
    ]
  ])
  remediators = sort(distinct(local.rules[*].remediator))

  # A rule that does nothing by itself needs no event. Rules without a `when` share their patterns.
  automatic = [for rule in local.rules : rule if rule.automatic != "off"]
  wanted = concat(
    [for rule in local.automatic : rule if rule.when != "{}"],
    [{
      # No rule's name has a dot.
      name       = "without.when"
      controls   = sort(distinct(flatten([for rule in local.automatic : rule.controls if rule.when == "{}"])))
      remediator = ""
      automatic  = "plan"
      when       = "{}"
      action     = null
    }],
  )

  event_source = var.testing == null ? "aws.securityhub" : var.testing.event_source

  # A pattern for each format in which findings come; redress's own findings name their control elsewhere. Only what
  # the router would act on by itself: failed, active, and new, so that the update after a fix is no event.
  kinds = {
    ASFF = { type = "Security Hub Findings - Imported", own = false, verdict = "Compliance" }
    OWN  = { type = "Security Hub Findings - Imported", own = true, verdict = "Compliance" }
    OCSF = { type = "Findings Imported V2", own = false, verdict = "compliance" }
  }
  fixed = {
    ASFF = { RecordState = ["ACTIVE"], Workflow = { Status = ["NEW"] } }
    OWN  = { RecordState = ["ACTIVE"], Workflow = { Status = ["NEW"] }, GeneratorId = ["@controls@"] }
    OCSF = { class_uid = [2003], status_id = [0, 1] }
  }
  verdicts = {
    ASFF = { Status = ["FAILED"], SecurityControlId = ["@controls@"] }
    OWN  = { Status = ["FAILED"] }
    OCSF = { status_id = [3], control = ["@controls@"] }
  }
  frames = [
    for pair in setproduct(local.wanted, concat(var.finding_formats, contains(var.finding_formats, "ASFF") ? ["OWN"] : [])) : {
      rule     = pair[0].name
      kind     = pair[1]
      when     = pair[0].when
      controls = [for control in pair[0].controls : control if startswith(control, "redress.") == local.kinds[pair[1]].own]
      text = jsonencode({
        source        = [local.event_source]
        "detail-type" = [local.kinds[pair[1]].type]
        detail = { findings = merge(jsondecode(pair[0].when), local.fixed[pair[1]], {
          (local.kinds[pair[1]].verdict) = merge(
            try(jsondecode(pair[0].when)[local.kinds[pair[1]].verdict], {}),
            local.verdicts[pair[1]],
          )
        }) }
      })
    }
  ]

  # As many controls in a pattern as EventBridge has room for.
  longest_pattern = 2048
  patterns = flatten([
    for frame in local.frames : [
      for number, controls in chunklist(frame.controls, max(1, floor(
        (local.longest_pattern - length(frame.text)) / max(1, [for control in frame.controls : length(control) + 3]...)
        ))) : {
        # At most 64 characters, and of no two rules the same.
        name = join("-", [
          var.name, substr(frame.rule, 0, 29), substr(sha256(frame.rule), 0, 4), lower(frame.kind), number,
        ])
        rule = frame.rule
        text = replace(frame.text, "\"@controls@\"", join(",", [for control in controls : jsonencode(control)]))
      }
    ]
  ])

  # A field that stands in `when` and is set by the pattern too would be lost. `$or` has branches: each is looked at.
  clashes = distinct([
    for frame in local.frames : frame.rule
    if length(frame.controls) > 0 && anytrue([
      for branch in concat([jsondecode(frame.when)], try([for one in jsondecode(frame.when)["$or"] : one], [])) :
      length(setintersection(keys(branch), keys(local.fixed[frame.kind]))) > 0 ||
      length(setintersection(try(keys(branch[local.kinds[frame.kind].verdict]), []), keys(local.verdicts[frame.kind]))) > 0
    ])
  ])
  too_long = distinct([for pattern in local.patterns : pattern.rule if length(pattern.text) > local.longest_pattern])
}

resource "aws_cloudwatch_event_rule" "findings" {
  for_each = { for pattern in local.patterns : pattern.name => pattern }

  name          = each.key
  description   = "Findings for redress: ${each.value.rule == "without.when" ? "rules without `when`" : "rule `${each.value.rule}`"} [rules ${local.rules_hash}]"
  event_pattern = each.value.text
  tags          = var.tags

  lifecycle {
    precondition {
      condition     = !contains(local.too_long, each.value.rule)
      error_message = "rule `${each.value.rule}`: its event pattern has ${length(each.value.text)} characters with a single control in it, and EventBridge takes ${local.longest_pattern}: shorten its `when`, or split the rule in two."
    }
    precondition {
      condition     = !contains(local.clashes, each.value.rule)
      error_message = "rule `${each.value.rule}`: when: RecordState, Workflow, Compliance.Status and Compliance.SecurityControlId (in OCSF class_uid, status_id, compliance.status_id and compliance.control; in redress's own findings GeneratorId) are set by the pattern itself: take them out."
    }
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
    precondition {
      condition     = length(local.patterns) <= 300 && length([for pattern in local.patterns : pattern if strcontains(pattern.text, "\"wildcard\"")]) <= 30
      error_message = "the rules make ${length(local.patterns)} event patterns; an event bus takes 300, 30 of them with a `wildcard`: put rules together, or leave `when` out where the first match decides anyway."
    }
  }
}

resource "aws_cloudwatch_event_target" "findings" {
  for_each = aws_cloudwatch_event_rule.findings

  rule      = each.value.name
  target_id = "queue"
  arn       = aws_sqs_queue.findings.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead["events"].arn
  }

  # Events of a test's source reach the function as what they stand for.
  dynamic "input_transformer" {
    for_each = local.transformers
    content {
      input_paths    = input_transformer.value.input_paths
      input_template = input_transformer.value.input_template
    }
  }
}

# Custom actions: a person chooses a finding in the console.

locals {
  actions = merge(
    {
      RedressPlan = "Show what redress would change for this finding, as a note"
      RedressFix  = "Have redress fix this finding, within its rules and limits"
      RedressUndo = "Have redress put back what it last changed for this finding"
    },
    { for rule in local.rules : rule.action => "Have redress fix this finding by its rule ${rule.name}" if rule.action != null },
  )
  action_chunks = chunklist(sort(keys(local.actions)), 12)

  # Text of a variable stands in quotes, objects and lists don't.
  transformers = var.testing == null ? [] : [{
    input_paths = {
      version = "$.version", id = "$.id", type = "$.detail-type", account = "$.account", time = "$.time",
      region  = "$.region", resources = "$.resources", detail = "$.detail"
    }
    input_template = <<-EOT
      {"version":"<version>","id":"<id>","detail-type":"<type>","source":"aws.securityhub","account":"<account>","time":"<time>","region":"<region>","resources":<resources>,"detail":<detail>}
    EOT
  }]
}

resource "aws_securityhub_action_target" "redress" {
  for_each = local.actions

  # Security Hub takes names of less than 20 characters and ids of up to 20.
  name        = substr(each.key, 0, 19)
  identifier  = each.key
  description = each.value
}

resource "aws_cloudwatch_event_rule" "actions" {
  count = length(local.action_chunks)

  name        = "${var.name}-actions-${count.index}"
  description = "Custom actions of redress [rules ${local.rules_hash}]"
  event_pattern = jsonencode({
    source        = [local.event_source]
    "detail-type" = ["Security Hub Findings - Custom Action", "Security Hub Insight Results"]
    resources     = [for action in local.action_chunks[count.index] : aws_securityhub_action_target.redress[action].arn]
  })
  tags = var.tags
}

resource "aws_cloudwatch_event_target" "actions" {
  count = length(aws_cloudwatch_event_rule.actions)

  rule      = aws_cloudwatch_event_rule.actions[count.index].name
  target_id = "queue"
  arn       = aws_sqs_queue.findings.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead["events"].arn
  }

  dynamic "input_transformer" {
    for_each = local.transformers
    content {
      input_paths    = input_transformer.value.input_paths
      input_template = input_transformer.value.input_template
    }
  }
}

# The rules travel in a layer, so that a new version of them is a new version of the function's configuration.

data "archive_file" "rules" {
  type        = "zip"
  output_path = "${path.root}/.terraform/${var.name}-rules-${local.rules_hash}.zip"

  dynamic "source" {
    for_each = local.layer_files
    content {
      filename = "rules/${source.value}"
      content  = file("${local.rules_folder}/${source.value}")
    }
  }
}

resource "aws_lambda_layer_version" "rules" {
  layer_name          = "${var.name}-rules"
  description         = "Rules and exemptions [rules ${local.rules_hash}]"
  filename            = data.archive_file.rules.output_path
  source_code_hash    = data.archive_file.rules.output_base64sha256
  compatible_runtimes = ["provided.al2023"]
}
