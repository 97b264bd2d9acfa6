ALTER TABLE users ADD COLUMN password_hash TEXT;  -- argon2id in the PHC string format
ALTER TABLE users ADD COLUMN oidc_subject TEXT;   -- issuer, space, subject
CREATE UNIQUE INDEX users_by_email ON users (email) WHERE email IS NOT NULL;
CREATE UNIQUE INDEX users_by_oidc_subject ON users (oidc_subject) WHERE oidc_subject IS NOT NULL;

-- A sign-in that has begun. Secrets are kept as their SHA-256.
CREATE TABLE logins (
	state_hash BYTEA PRIMARY KEY,
	redirect_uri TEXT NOT NULL,
	code_challenge TEXT,                -- PKCE S256
	nonce TEXT NOT NULL,
	code_hash BYTEA,                    -- once somebody has signed in on the built-in page
	user_id BYTEA REFERENCES users (id),
	authorization_request TEXT,         -- JSON, of a sign-in on behalf of an OAuth client
	expires_at BIGINT NOT NULL
);
CREATE INDEX logins_by_expiry ON logins (expires_at);

-- Who is signed in. The tokens of a session carry its ID.
CREATE TABLE sessions (
	id BYTEA PRIMARY KEY,
	user_id BYTEA NOT NULL REFERENCES users (id),
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- OAuth 2.1 for programs that act for a user.
CREATE TABLE oauth_clients (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL,
	redirect_uris TEXT NOT NULL,        -- JSON array
	created_at BIGINT NOT NULL
);

CREATE TABLE oauth_grants (
	id BYTEA PRIMARY KEY,
	client_id TEXT NOT NULL REFERENCES oauth_clients (id),
	user_id BYTEA NOT NULL REFERENCES users (id),
	actions TEXT NOT NULL,
	scope TEXT NOT NULL,
	redirect_uri TEXT NOT NULL,
	code_hash BYTEA UNIQUE,             -- NULL once used
	code_challenge TEXT NOT NULL,
	code_expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE INDEX oauth_grants_by_user ON oauth_grants (user_id);

CREATE TABLE oauth_tokens (
	token_hash BYTEA PRIMARY KEY,
	grant_id BYTEA NOT NULL REFERENCES oauth_grants (id),
	refresh BOOLEAN NOT NULL,
	used BOOLEAN NOT NULL,              -- a refresh token works once
	expires_at BIGINT NOT NULL
);
CREATE INDEX oauth_tokens_by_grant ON oauth_tokens (grant_id);
CREATE INDEX oauth_tokens_by_expiry ON oauth_tokens (expires_at);
