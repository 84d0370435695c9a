# Two deliveries of the same stream: the exact lines for `weir audit verify`, and Parquet for queries.

resource "aws_cloudwatch_log_group" "firehose" {
  name              = "/aws/kinesisfirehose/${var.name}"
  retention_in_days = 90
}

resource "aws_cloudwatch_log_stream" "firehose" {
  for_each       = local.buckets
  name           = each.key
  log_group_name = aws_cloudwatch_log_group.firehose.name
}

resource "aws_iam_role" "firehose" {
  for_each           = local.buckets
  name               = "${var.name}-firehose-${each.key}"
  assume_role_policy = templatefile("${var.policies}/assume.json", { service = "firehose.amazonaws.com" })
}

resource "aws_iam_role_policy" "firehose" {
  for_each = local.buckets
  role     = aws_iam_role.firehose[each.key].id
  policy = templatefile("${var.policies}/firehose.json", {
    stream_arn    = var.stream_arn
    bucket_arn    = each.value.arn
    key_arn       = var.key_arn
    catalog_arn   = "arn:${data.aws_partition.current.partition}:glue:${data.aws_region.current.name}:${local.account}:catalog"
    database_arn  = aws_glue_catalog_database.audit.arn
    table_arn     = aws_glue_catalog_table.records.arn
    log_group_arn = aws_cloudwatch_log_group.firehose.arn
  })
}

# The bytes as they were put: no processing, no delimiter. A Kinesis record holds whole lines, each with its newline.
resource "aws_kinesis_firehose_delivery_stream" "raw" {
  name        = "${var.name}-raw"
  destination = "extended_s3"

  kinesis_source_configuration {
    kinesis_stream_arn = var.stream_arn
    role_arn           = aws_iam_role.firehose["evidence"].arn
  }

  extended_s3_configuration {
    bucket_arn          = aws_s3_bucket.evidence.arn
    role_arn            = aws_iam_role.firehose["evidence"].arn
    kms_key_arn         = var.key_arn
    compression_format  = "GZIP"
    buffering_size      = 64
    buffering_interval  = 300
    prefix              = "raw/day=!{timestamp:yyyy-MM-dd}/"
    error_output_prefix = "failed/!{firehose:error-output-type}/day=!{timestamp:yyyy-MM-dd}/"

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.firehose.name
      log_stream_name = aws_cloudwatch_log_stream.firehose["evidence"].name
    }
  }

  depends_on = [aws_iam_role_policy.firehose, aws_s3_bucket_object_lock_configuration.evidence]
}

# Lines that follow each other in a Kinesis record are JSON documents one after the other, which the conversion takes apart.
resource "aws_kinesis_firehose_delivery_stream" "tables" {
  name        = "${var.name}-tables"
  destination = "extended_s3"

  kinesis_source_configuration {
    kinesis_stream_arn = var.stream_arn
    role_arn           = aws_iam_role.firehose["tables"].arn
  }

  extended_s3_configuration {
    bucket_arn          = aws_s3_bucket.tables.arn
    role_arn            = aws_iam_role.firehose["tables"].arn
    kms_key_arn         = var.key_arn
    buffering_size      = 128
    buffering_interval  = 300
    prefix              = "records/day=!{timestamp:yyyy-MM-dd}/"
    error_output_prefix = "failed/!{firehose:error-output-type}/day=!{timestamp:yyyy-MM-dd}/"

    data_format_conversion_configuration {
      input_format_configuration {
        deserializer {
          # Payloads may have keys that differ by case alone.
          open_x_json_ser_de {
            case_insensitive = false
          }
        }
      }

      output_format_configuration {
        serializer {
          parquet_ser_de {
            compression = "SNAPPY"
          }
        }
      }

      schema_configuration {
        database_name = aws_glue_catalog_database.audit.name
        table_name    = aws_glue_catalog_table.records.name
        role_arn      = aws_iam_role.firehose["tables"].arn
      }
    }

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.firehose.name
      log_stream_name = aws_cloudwatch_log_stream.firehose["tables"].name
    }
  }

  depends_on = [aws_iam_role_policy.firehose]
}
