//! One file per verb: the statement, and the one handler that sends it.
//!
//! A statement authenticates and calls in one round trip. The call's first argument depends on the
//! authentication's answer, so that the one cannot happen before, or without, the other. (A call
//! without arguments waits for that answer itself.)

pub(crate) mod audit;
pub(crate) mod audit_head;
pub(crate) mod consumers;
pub(crate) mod create;
pub(crate) mod create_grant;
pub(crate) mod create_token;
pub(crate) mod create_webhook;
pub(crate) mod delete;
pub(crate) mod delete_webhook;
pub(crate) mod deliveries;
pub(crate) mod dry_run;
pub(crate) mod end_grace;
pub(crate) mod extend_grace;
pub(crate) mod get;
pub(crate) mod get_by_name;
pub(crate) mod get_policy;
pub(crate) mod get_webhook;
pub(crate) mod health;
pub(crate) mod list;
pub(crate) mod list_grants;
pub(crate) mod list_tokens;
pub(crate) mod list_webhooks;
pub(crate) mod metrics;
pub(crate) mod ping_webhook;
pub(crate) mod purge;
pub(crate) mod read;
pub(crate) mod redeliver;
pub(crate) mod register_consumer;
pub(crate) mod restore;
pub(crate) mod revoke_grant;
pub(crate) mod revoke_token;
pub(crate) mod rollback;
pub(crate) mod rotate;
pub(crate) mod rotate_webhook_secret;
pub(crate) mod set_policy;
pub(crate) mod set_rotation;
mod unchanged;
pub(crate) mod unregister_consumer;
pub(crate) mod update_webhook;
pub(crate) mod version;
pub(crate) mod versions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_authenticates_before_it_calls() {
        for statement in [
            audit::DENIED,
            consumers::STATEMENT,
            create::STATEMENT,
            create_grant::STATEMENT,
            create_token::STATEMENT,
            create_webhook::STATEMENT,
            delete::STATEMENT,
            dry_run::STATEMENT,
            delete_webhook::STATEMENT,
            deliveries::STATEMENT,
            end_grace::STATEMENT,
            extend_grace::STATEMENT,
            get::STATEMENT,
            get_by_name::STATEMENT,
            get_policy::STATEMENT,
            get_webhook::STATEMENT,
            list::STATEMENT,
            list_webhooks::STATEMENT,
            ping_webhook::STATEMENT,
            list_grants::STATEMENT,
            list_tokens::STATEMENT,
            purge::STATEMENT,
            read::STATEMENT,
            redeliver::STATEMENT,
            register_consumer::STATEMENT,
            restore::STATEMENT,
            revoke_grant::STATEMENT,
            revoke_token::STATEMENT,
            rollback::STATEMENT,
            rotate::STATEMENT,
            rotate_webhook_secret::STATEMENT,
            set_policy::STATEMENT,
            set_rotation::STATEMENT,
            unchanged::STATEMENT,
            unregister_consumer::STATEMENT,
            update_webhook::STATEMENT,
            version::STATEMENT,
            versions::STATEMENT,
        ] {
            let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                words.contains(
                    "FROM control_plane.authenticate($1, $2) AS caller(subject), LATERAL control_plane."
                ),
                "{words}"
            );
            assert_eq!(words.matches("LATERAL").count(), 1, "{words}");
            assert!(
                words.contains("( CASE WHEN caller.subject IS NOT NULL THEN $3::"),
                "{words}"
            );
        }
    }
    #[test]
    fn a_call_without_arguments_waits_for_the_authentication() {
        assert!(audit_head::STATEMENT.contains(
            "CASE WHEN caller.subject IS NOT NULL THEN control_plane.export_audit_head() END"
        ));
    }
}
