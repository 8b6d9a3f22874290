-- From version 1 to 2: how an answer was asked for.
ALTER TABLE messages ADD COLUMN asked TEXT
