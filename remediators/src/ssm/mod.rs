//! Documents of Systems Manager, and its settings of an account.
