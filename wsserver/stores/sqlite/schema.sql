-- Version 1. `touched` numbers the changes of all sessions: the order of an owner's list.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    session_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    title TEXT,
    system_prompt TEXT,
    model TEXT,
    metadata TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    is_ephemeral INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, session_id)
);
CREATE UNIQUE INDEX sessions_touched ON sessions (touched);
CREATE INDEX sessions_by_owner ON sessions (owner, touched, size);
CREATE INDEX sessions_by_use ON sessions (used_at);

CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    parent_id TEXT,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    size INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    author_id TEXT,
    model TEXT,
    tokens INTEGER,
    finish_reason TEXT,
    stream_id TEXT,
    lease INTEGER,
    UNIQUE (session, position),
    UNIQUE (session, message_id)
);
CREATE INDEX messages_by_stream ON messages (stream_id) WHERE stream_id IS NOT NULL;
CREATE INDEX messages_being_written ON messages (lease) WHERE lease IS NOT NULL;
