-- Nobody has anything until it is given: functions are PUBLIC's by default in Postgres, tables are not.
REVOKE ALL ON SCHEMA control_plane FROM PUBLIC;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA control_plane FROM PUBLIC;

REVOKE ALL ON ALL TABLES IN SCHEMA control_plane FROM PUBLIC;
