//! SQS queues.
