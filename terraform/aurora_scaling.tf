# Adds readers while readers are busy. They are not in Terraform's state, and are removed automatically.

resource "aws_appautoscaling_target" "readers" {
  count = local.scaling_readers ? 1 : 0

  service_namespace  = "rds"
  scalable_dimension = "rds:cluster:ReadReplicaCount"
  resource_id        = "cluster:${aws_rds_cluster.main[0].cluster_identifier}"
  # Terraform's readers count too, but are never removed: only those that scaling added are.
  min_capacity = var.aurora_readers
  max_capacity = var.aurora_maximum_readers

  depends_on = [aws_rds_cluster_instance.main]
}

resource "aws_appautoscaling_policy" "readers" {
  count = local.scaling_readers ? 1 : 0

  name               = "readers"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.readers[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.readers[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.readers[0].resource_id

  # For a serverless instance 100 % is its CPU at aurora_maximum_capacity: it scales up first, and out after that.
  target_tracking_scaling_policy_configuration {
    target_value = 60
    # A new reader takes minutes to start; keeping one for another 15 minutes is cheap.
    scale_out_cooldown = 300
    scale_in_cooldown  = 900

    predefined_metric_specification {
      predefined_metric_type = "RDSReaderAverageCPUUtilization"
    }
  }
}

locals {
  scaling_readers = var.aurora && try(var.aurora_maximum_readers > var.aurora_readers, false)
}
