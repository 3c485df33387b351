-- SPDX-License-Identifier: EUPL-1.2
-- What an institution would build that wants a tamper-evident log in its database: a table that only grows, each row carrying the SHA-256
-- over the row before it and its own payload. Who inserts must know the row before, so inserts wait for each other; that is the price of a chain.
DROP TABLE IF EXISTS plain, chained, head;

CREATE TABLE plain (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload bytea NOT NULL);

CREATE TABLE chained (n bigint PRIMARY KEY, hash bytea NOT NULL, payload bytea NOT NULL);
-- The newest row's number and hash. Room in its page for the many versions that a batch leaves.
CREATE TABLE head (n bigint NOT NULL, hash bytea NOT NULL) WITH (fillfactor = 10);
INSERT INTO head VALUES (0, '');

CREATE OR REPLACE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE head SET n = head.n + 1, hash = sha256(head.hash || NEW.payload) RETURNING head.n, head.hash INTO NEW.n, NEW.hash;
    RETURN NEW;
END $$;
CREATE TRIGGER chain BEFORE INSERT ON chained FOR EACH ROW EXECUTE FUNCTION chain();

CREATE OR REPLACE FUNCTION insert_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this table only grows';
END $$;
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON chained FOR EACH STATEMENT EXECUTE FUNCTION insert_only();
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON plain FOR EACH STATEMENT EXECUTE FUNCTION insert_only();
