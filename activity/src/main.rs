//! The Lambda function behind a user pool's triggers: packed as `bootstrap`.

fn main() {}
