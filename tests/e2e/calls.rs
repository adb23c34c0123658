//! A call of every function, what it needs, and how those are refused who have not got it.

use crate::matrix_rules::Scope::{
    Anyone, Endpoint, Everything, Listing, Login, Name, Owner, Secret, Token, Trigger, Whole,
};
use crate::matrix_rules::{Holder, Scope};

/// A call of a function, for a scene: `{p}` is a project, `{id}` its secret's current version, `{g}` the
/// version before, in grace, `{d}` a deleted secret, `{e}` an endpoint, `{t}` the id of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) text: &'static str,
    pub(crate) permission: &'static str,
    pub(crate) scope: Scope,
    /// The SQLSTATE for who may; empty where it succeeds.
    pub(crate) answer: &'static str,
    /// What the answer of a listing names for who sees it; empty where nothing is looked for.
    pub(crate) shows: &'static str,
}

impl Call {
    /// The function's name.
    pub(crate) fn function(&self) -> &'static str {
        self.text.split('(').next().unwrap_or_default()
    }

    /// The SQLSTATE for a role with this grant.
    pub(crate) fn refusal(&self, holder: Holder) -> &'static str {
        match self.scope {
            Scope::Owner => "42501",
            Scope::Trigger => "0A000",
            // It knows no secret and asks for no grant: its input is refused.
            Scope::Anyone => "PT400",
            _ if holder.refusal(self.scope) == 404 => "PT404",
            _ => "PT403",
        }
    }
}

const fn call(text: &'static str, permission: &'static str, scope: Scope) -> Call {
    Call {
        text,
        permission,
        scope,
        answer: "",
        shows: "",
    }
}

const fn answers(call: Call, answer: &'static str) -> Call {
    Call { answer, ..call }
}

const fn shows(call: Call, shows: &'static str) -> Call {
    Call { shows, ..call }
}

/// At least one call of every function.
pub(crate) const CALLS: &[Call] = &[
    call(
        "create_secret('{p}', 'name other', 'a value')",
        "write",
        Name,
    ),
    call("get_secret('{id}')", "read", Secret),
    call("get_secret_by_name('{p}', 'name')", "read", Secret),
    call("get_secret_version('{id}', 1)", "read", Secret),
    shows(call("get_secrets('{p}')", "read", Listing), "{id}"),
    call("secret_id('{p}', 'name')", "any", Secret),
    shows(call("list_secrets('{p}')", "list", Listing), "{id}"),
    shows(
        call("list_secrets('{p}', 'deleted')", "list", Listing),
        "{d}",
    ),
    shows(call("list_secrets_page('{p}')", "list", Listing), "{id}"),
    call("check_secret('{id}')", "read", Secret),
    call("secret_versions('{id}')", "list", Secret),
    call("rotate_secret('{id}', 'a value')", "write", Secret),
    call("rollback_secret('{id}', 1)", "write", Secret),
    call("extend_grace('{g}', '1 hour')", "write", Secret),
    call("end_grace('{g}')", "write", Secret),
    call("delete_secret('{id}')", "delete", Secret),
    call("restore_secret('{d}')", "delete", Secret),
    call("purge_secret('{d}')", "admin", Secret),
    call("register_consumer('{id}', 'service')", "manage", Secret),
    call("unregister_consumer('{id}', 'service')", "manage", Secret),
    call("run_maintenance()", "admin", Everything),
    call("confirm_restored()", "admin", Everything),
    call("blast_radius('{id}')", "list", Secret),
    call("preview('{id}', 'rotate')", "write", Secret),
    call("preview('{g}', 'end_grace')", "write", Secret),
    call("preview('{id}', 'delete')", "delete", Secret),
    call("set_policy('{p}')", "manage", Whole),
    call("project_policy('{p}')", "manage", Whole),
    call("set_rotation('{id}')", "manage", Secret),
    call(
        "create_endpoint('{p}', 'http://127.0.0.1/')",
        "manage",
        Whole,
    ),
    shows(call("list_endpoints('{p}')", "manage", Whole), "{e}"),
    call("get_endpoint('{e}')", "manage", Endpoint),
    call(
        "update_endpoint('{e}', enabled => false)",
        "manage",
        Endpoint,
    ),
    call("rotate_endpoint_secret('{e}')", "manage", Endpoint),
    call("ping_endpoint('{e}')", "manage", Endpoint),
    call("list_deliveries('{e}')", "manage", Endpoint),
    call(
        "redeliver('{e}', since => '2020-01-01')",
        "manage",
        Endpoint,
    ),
    call("delete_endpoint('{e}')", "manage", Endpoint),
    call("sweep_deliveries()", "admin", Everything),
    call("claim_deliveries()", "admin", Everything),
    call("finish_delivery('{id}', 1, 200)", "admin", Everything),
    call("release_delivery('{id}', 1)", "admin", Everything),
    call("service_figures()", "admin", Everything),
    call("begin_request('a-key', '\\x00')", "admin", Login),
    call("end_request('a-key', 200)", "admin", Login),
    call("grant_project('somebody', 'read', '{p}')", "manage", Whole),
    call(
        "grant_project('somebody', 'read', '{p}', name_prefix => 'name')",
        "manage",
        Name,
    ),
    call("grant_project('somebody', 'read')", "admin", Everything),
    call("grant_project('somebody', 'admin')", "admin", Everything),
    call("revoke_project('somebody', 'read', '{p}')", "manage", Whole),
    call("project_grants('{p}')", "manage", Listing),
    call("project_grants()", "admin", Everything),
    call("create_token('somebody')", "admin", Everything),
    call("revoke_token('{t}')", "admin", Token),
    call("list_tokens()", "admin", Everything),
    answers(call("token_id('pgs_x')", "admin", Everything), "PT404"),
    call("authenticate_subject('somebody')", "admin", Login),
    call("pre_request()", "admin", Login),
    call("authenticate('pgs_x')", "admin", Login),
    shows(call("list_audit('{p}')", "audit", Listing), "{id}"),
    shows(
        call("list_audit(secret_id => '{id}')", "audit", Secret),
        "{id}",
    ),
    call("list_audit()", "audit", Everything),
    call("denied_reads('{p}')", "audit", Listing),
    call("denied_reads()", "audit", Everything),
    call("pgp_keys()", "admin", Everything),
    call("reencrypt_secrets(1)", "admin", Everything),
    call("verify_secrets()", "admin", Everything),
    call("pgp_encrypt('x')", "admin", Everything),
    answers(call("pgp_decrypt('\\x00')", "admin", Everything), "PT422"),
    answers(call("armor('x', ARRAY['a'])", "", Anyone), "PT400"),
    answers(call("dearmor('x')", "", Anyone), "PT400"),
    call("set_execute('grant', 'postgres')", "", Owner),
    call("verify_audit()", "audit", Everything),
    call("export_audit_head()", "audit", Everything),
    call("store_usage(0, 1)", "", Owner),
    call("audit_change()", "", Trigger),
    call("protect_audit()", "", Trigger),
];
