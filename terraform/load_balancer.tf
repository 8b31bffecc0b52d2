# The load balancer: the only part that is reachable from the internet.

resource "aws_lb" "api" {
  #checkov:skip=CKV2_AWS_28:A web application firewall costs more than a small environment; the service only has GET and checks each parameter.
  name               = "${local.name}-api"
  load_balancer_type = "application"
  internal           = false
  subnets            = aws_subnet.public[*].id
  security_groups    = [aws_security_group.load_balancer.id]

  # Below the 75 seconds for which the API keeps an idle connection, so that the API never closes one first.
  idle_timeout               = 60
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection

  access_logs {
    enabled = true
    bucket  = aws_s3_bucket.logs.id
    prefix  = "load-balancer"
  }

  depends_on = [aws_s3_bucket_policy.logs]
}

resource "aws_lb_target_group" "api" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; the traffic to the API stays in the private network.
  name        = "${local.name}-api"
  vpc_id      = aws_vpc.main.id
  target_type = "ip"
  port        = local.api_port
  protocol    = "HTTP"

  # A response takes at most 2 seconds; ECS sends SIGTERM only after this delay.
  deregistration_delay          = 30
  load_balancing_algorithm_type = "least_outstanding_requests"

  # A task receives requests once it has reached the database, so a deployment with a wrong secret is rolled back. After that only
  # its liveness is checked: ECS replaces unhealthy tasks, new tasks cannot bring a database back, and old tasks hold the cached
  # responses. The checks also do not keep a database awake that may pause. A task is replaced after 100 seconds.
  health_check {
    path                = "/health/started"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 10
  }
}

resource "aws_lb_listener" "http" {
  #checkov:skip=CKV_AWS_2:Redirects to HTTPS if there is a certificate; without one there is nothing to redirect to.
  #checkov:skip=CKV_AWS_103:This listener has no TLS; the other one has.
  load_balancer_arn = aws_lb.api.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = var.certificate_arn == null ? "forward" : "redirect"
    target_group_arn = var.certificate_arn == null ? aws_lb_target_group.api.arn : null

    dynamic "redirect" {
      for_each = var.certificate_arn == null ? [] : ["https"]

      content {
        port        = "443"
        protocol    = "HTTPS"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = var.certificate_arn == null ? 0 : 1

  load_balancer_arn = aws_lb.api.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}

locals {
  api_url = var.api_domain == null ? "http://${aws_lb.api.dns_name}" : "https://${var.api_domain}"
}
