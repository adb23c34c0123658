//! pg_secrets
pgrx::pg_module_magic!();
