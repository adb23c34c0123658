//! Secrets as environment variables: which name becomes which.
//!
//! Letters become capitals; whatever is neither a letter of ASCII, a digit nor `_` becomes `_`; a digit
//! at the beginning gets a `_` before it. Where two secrets would be one variable, none is set.

use crate::client::dangerous::is_dangerous;
use crate::client::failure::{Failure, Kind};
use crate::visible::visible;
use clap::Args;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Which secrets, and under which names.
#[derive(Debug, Args)]
pub struct VariableArguments {
    /// Only this secret; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// The variable for one secret, in place of the one by the rule; may be given several times
    #[arg(long, value_name = "NAME=VARIABLE")]
    map: Vec<Mapping>,
    /// What every variable by the rule begins with
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = prefix)]
    prefix: String,
    /// Set this variable although programs act upon it, as upon PATH; may be given several times
    #[arg(long, value_name = "VARIABLE")]
    allow: Vec<String>,
}

/// A secret's variable, said by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    name: String,
    variable: String,
}

impl FromStr for Mapping {
    type Err = String;

    /// A name may hold `=`; a variable cannot.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('=') {
            Some((name, variable)) if !name.is_empty() && is_variable(variable) => Ok(Self {
                name: name.to_owned(),
                variable: variable.to_owned(),
            }),
            _ => Err("not NAME=VARIABLE, where a variable has letters, digits and _".to_owned()),
        }
    }
}

fn prefix(text: &str) -> Result<String, String> {
    match text.is_empty() || is_variable(text) {
        true => Ok(text.to_owned()),
        false => Err("not the beginning of a variable's name".to_owned()),
    }
}

/// Whether an environment can have a variable of this name.
pub(crate) fn is_variable(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(inner)
}

/// The variable of a secret by the rule.
pub(crate) fn by_rule(prefix: &str, name: &str) -> String {
    let mut variable = prefix.to_owned();
    for c in name.chars() {
        variable.push(match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        });
    }
    if variable.starts_with(|c: char| c.is_ascii_digit()) {
        variable.insert(0, '_');
    }
    variable
}

impl VariableArguments {
    /// The variables of these secrets, in their order.
    ///
    /// # Errors
    /// Where two would be the same, where programs act upon one and nobody allowed it, and where a
    /// mapping names a secret that is not there.
    pub(crate) fn of(&self, names: &[&str]) -> Result<Vec<String>, Failure> {
        let absent = |mapping: &&Mapping| !names.contains(&mapping.name.as_str());
        if let Some(mapping) = self.map.iter().find(absent) {
            let text = format!("--map names {}, which is not there", visible(&mapping.name));
            return Err(Failure::new(Kind::Usage, text));
        }
        let variables: Vec<String> = names.iter().map(|name| self.variable(name)).collect();
        let mut taken = BTreeMap::new();
        for (name, variable) in names.iter().zip(&variables) {
            if let Some(other) = taken.insert(variable, name) {
                return Err(refused(format!(
                    "the secrets {} and {} would both be the variable {variable}; --map NAME=VARIABLE names one of them, --only leaves one out",
                    visible(other),
                    visible(name),
                )));
            }
            if is_dangerous(variable) && !self.allow.contains(variable) {
                return Err(refused(format!(
                    "the secret {} would be the variable {variable}, upon which programs act; --allow {variable} sets it all the same, --map {}=OTHER names it otherwise",
                    visible(name),
                    visible(name),
                )));
            }
        }
        Ok(variables)
    }

    fn variable(&self, name: &str) -> String {
        let said = self.map.iter().find(|mapping| mapping.name == name);
        said.map_or_else(
            || by_rule(&self.prefix, name),
            |mapping| mapping.variable.clone(),
        )
    }
}

fn refused(text: String) -> Failure {
    Failure::new(Kind::Usage, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(map: &[&str], allow: &[&str]) -> VariableArguments {
        VariableArguments {
            only: Vec::new(),
            map: map.iter().map(|text| text.parse().unwrap()).collect(),
            prefix: String::new(),
            allow: allow.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn names_become_variables_by_the_rule() {
        for (name, variable) in [
            ("stripe-key", "STRIPE_KEY"),
            ("db.password", "DB_PASSWORD"),
            ("2fa", "_2FA"),
            ("a/b c=d", "A_B_C_D"),
            ("ü", "_"),
            ("Already_OK1", "ALREADY_OK1"),
        ] {
            assert_eq!(by_rule("", name), variable);
            assert!(is_variable(variable), "{variable}");
        }
        assert_eq!(by_rule("app_", "2fa"), "app_2FA");
    }

    #[test]
    fn what_is_not_clear_or_not_safe_is_refused() {
        let none = arguments(&[], &[]);
        assert_eq!(none.of(&["a", "b"]).unwrap(), ["A", "B"]);
        for names in [&["a-b", "a_b"][..], &["path"], &["ld-preload"]] {
            assert_eq!(none.of(names).unwrap_err().kind(), Kind::Usage, "{names:?}");
        }
        let mapped = arguments(&["a-b=OTHER"], &["PATH"]);
        assert_eq!(
            mapped.of(&["a-b", "a_b", "path"]).unwrap(),
            ["OTHER", "A_B", "PATH"]
        );
        assert!(
            mapped.of(&["a_b"]).is_err(),
            "a mapping of what is not there"
        );
        assert!(arguments(&["x=LD_PRELOAD"], &[]).of(&["x"]).is_err());
        assert!(arguments(&["x=A"], &[]).of(&["x", "a"]).is_err());
    }

    #[test]
    fn a_mapping_ends_with_a_variable() {
        assert!("a=b=C".parse::<Mapping>().is_ok());
        for text in ["", "a", "=A", "a=", "a=1", "a=B-C"] {
            assert!(text.parse::<Mapping>().is_err(), "{text}");
        }
    }
}
