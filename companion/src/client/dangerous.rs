//! Variables that decide which code a program runs or whom it trusts. Whoever may write a secret must
//! not thereby command the machines that read it.

/// Whole names.
const NAMES: &[&str] = &[
    // the shell and the system
    "BASHOPTS",
    "BASH_ENV",
    "CDPATH",
    "EDITOR",
    "ENV",
    "FPATH",
    "GCONV_PATH",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "MANPATH",
    "NLSPATH",
    "PAGER",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "PWD",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "SHELL",
    "SHELLOPTS",
    "TERM",
    "TERMCAP",
    "TERMINFO",
    "TMPDIR",
    "TZDIR",
    "USER",
    "VISUAL",
    "ZDOTDIR",
    // languages
    "CLASSPATH",
    "DOTNET_STARTUP_HOOKS",
    "ERL_AFLAGS",
    "ERL_FLAGS",
    "JAVA_HOME",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LUA_CPATH",
    "LUA_INIT",
    "LUA_PATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "RUBYLIB",
    "RUBYOPT",
    "_JAVA_OPTIONS",
    // whom it trusts, and by which way
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
];

/// Beginnings of names.
const PREFIXES: &[&str] = &[
    "BASH_FUNC_",
    "DYLD_",
    "GIT_",
    "GLIBC_",
    "LD_",
    "MALLOC_",
    "OPENSSL_",
    "PERL",
    "PG_SECRETS_",
    "PYTHON",
    "SSL_CERT_",
];

/// Whether a secret is given such a name only where somebody asked for it. In any case of letters: some
/// programs look for `http_proxy`.
pub(crate) fn is_dangerous(variable: &str) -> bool {
    let name = variable.to_ascii_uppercase();
    NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_program_is_known_and_what_it_is_told_is_not() {
        for name in [
            "PATH",
            "Path",
            "LD_PRELOAD",
            "http_proxy",
            "PYTHONPATH",
            "PERL5OPT",
            "GIT_SSH",
        ] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in [
            "STRIPE_KEY",
            "DATABASE_URL",
            "PGPASSWORD",
            "PATHS",
            "OLD_PATH",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(!is_dangerous(name), "{name}");
        }
    }
}
