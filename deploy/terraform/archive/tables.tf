# The tables that ../athena/schema.sql describes, and the queries to start from.

locals {
  columns = jsondecode(file("${var.athena}/columns.json"))

  by_day = {
    "projection.enabled"    = "true"
    "projection.day.type"   = "date"
    "projection.day.format" = "yyyy-MM-dd"
    "projection.day.range"  = "2026-01-01,NOW"
  }
}

resource "aws_glue_catalog_database" "audit" {
  name = replace(var.name, "-", "_")
}

resource "aws_glue_catalog_table" "records" {
  name          = "records"
  database_name = aws_glue_catalog_database.audit.name
  table_type    = "EXTERNAL_TABLE"

  parameters = merge(local.by_day, {
    classification              = "parquet"
    "storage.location.template" = "s3://${aws_s3_bucket.tables.id}/records/day=$${day}/"
  })

  partition_keys {
    name = "day"
    type = "string"
  }

  storage_descriptor {
    location      = "s3://${aws_s3_bucket.tables.id}/records/"
    input_format  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"

    ser_de_info {
      serialization_library = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
    }

    dynamic "columns" {
      for_each = local.columns
      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}

resource "aws_glue_catalog_table" "records_raw" {
  name          = "records_raw"
  database_name = aws_glue_catalog_database.audit.name
  table_type    = "EXTERNAL_TABLE"

  parameters = merge(local.by_day, {
    classification              = "json"
    "storage.location.template" = "s3://${aws_s3_bucket.evidence.id}/raw/day=$${day}/"
  })

  partition_keys {
    name = "day"
    type = "string"
  }

  storage_descriptor {
    location      = "s3://${aws_s3_bucket.evidence.id}/raw/"
    input_format  = "org.apache.hadoop.mapred.TextInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"

    ser_de_info {
      serialization_library = "org.openx.data.jsonserde.JsonSerDe"
      parameters            = { "case.insensitive" = "false" }
    }

    dynamic "columns" {
      for_each = local.columns
      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}

resource "aws_athena_workgroup" "audit" {
  name = var.name

  configuration {
    enforce_workgroup_configuration = true

    result_configuration {
      output_location = "s3://${aws_s3_bucket.tables.id}/answers/"

      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = var.key_arn
      }
    }
  }
}

# Each file begins with `-- Name: what it answers`.
resource "aws_athena_named_query" "start" {
  for_each    = fileset("${var.athena}/queries", "*.sql")
  name        = trimsuffix(each.value, ".sql")
  description = trimprefix(split("\n", file("${var.athena}/queries/${each.value}"))[0], "-- ")
  workgroup   = aws_athena_workgroup.audit.id
  database    = aws_glue_catalog_database.audit.name
  query       = file("${var.athena}/queries/${each.value}")
}
