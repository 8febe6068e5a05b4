//! A deployment's function as Lambda has it, and what its variables tell it.

use aws_config::SdkConfig;
use aws_sdk_lambda::{Client, operation::get_function_configuration::GetFunctionConfigurationOutput};
use redress_remediators::Error;
use redress_router::config::{Config, ConfigError};

/// The action that [`Dispatcher::read`] takes.
pub(super) const READS: &str = "lambda:GetFunctionConfiguration";

/// A deployment's function.
pub(super) struct Dispatcher {
    pub(super) found: GetFunctionConfigurationOutput,
}

impl Dispatcher {
    /// Asks Lambda for the function of this name.
    pub(super) async fn read(aws: &SdkConfig, name: &str) -> Result<Self, Error> {
        let asked = Client::new(aws).get_function_configuration().function_name(name);
        Ok(Self { found: asked.send().await? })
    }

    /// A variable of its environment. Empty ones count as absent, as they do to the function.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let variables = self.found.environment().and_then(|environment| environment.variables());
        variables.and_then(|all| all.get(name)).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Why its variables can't be read though it can itself, as where the caller may not use their key.
    pub(super) fn hidden(&self) -> Option<&str> {
        let error = self.found.environment()?.error()?;
        Some(error.message().unwrap_or("Lambda does not say why"))
    }

    /// Its settings, read as it reads them itself.
    ///
    /// # Errors
    /// Names the variable and what is wrong.
    pub(super) fn settings(&self) -> Result<Config, ConfigError> {
        Config::read(&|name| match name {
            // The path of a file that is there and not here.
            "REDRESS_CA_BUNDLE" => Ok(None),
            _ => Ok(self.variable(name).map(str::to_owned)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aws_sdk_lambda::types::{EnvironmentError, EnvironmentResponse};
    use redress_router::rules::Mode;

    use super::*;

    fn of(environment: EnvironmentResponse) -> Dispatcher {
        Dispatcher { found: GetFunctionConfigurationOutput::builder().environment(environment).build() }
    }

    #[test]
    fn settings_are_what_the_variables_say() {
        let variables = [
            ("REDRESS_CEILING", "apply"),
            ("REDRESS_STATE_TABLE", "team-state"),
            ("REDRESS_AUDIT_TABLE", "team-audit"),
            ("REDRESS_RULES_HASH", "0123456789abcdef"),
            ("REDRESS_ACTIVITY_TABLE", ""),
            ("REDRESS_CA_BUNDLE", "/opt/no-such.pem"),
        ];
        let environment = variables
            .iter()
            .fold(EnvironmentResponse::builder(), |all, (name, value)| all.variables(*name, *value));
        let settings = of(environment.build()).settings().unwrap();
        assert_eq!((settings.ceiling, settings.activity_table), (Mode::Apply, None));
        assert_eq!(settings.rules_hash.as_deref(), Some("0123456789abcdef"));

        let wrong = EnvironmentResponse::builder().variables("REDRESS_CEILING", "aply").build();
        assert!(of(wrong).settings().unwrap_err().to_string().contains("`aply`"));
    }

    #[test]
    fn variables_that_are_hidden_are_told_from_none() {
        let error = EnvironmentError::builder().error_code("AccessDenied").message("no kms:Decrypt").build();
        let hidden = of(EnvironmentResponse::builder().error(error).build());
        assert_eq!(hidden.hidden(), Some("no kms:Decrypt"));
        assert_eq!(of(EnvironmentResponse::builder().build()).hidden(), None);
    }
}
