-- ARGV: 1 node, 2 takes, 3 SHA-1 of its state. A client that is connected there stays known.
-- Returns how it stands; one that this Redis has lost, wholly or its newest state, is STALE.
local known = redis.call('HMGET', CLIENT, 'node', 'takes', 'gone', 'state')
if not known[1] or tonumber(known[2]) < tonumber(ARGV[2]) then
    return STALE
end
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then
    return TAKEN
end
if known[3] == '1' then
    return GIVEN_UP
end
be_present()
return redis.sha1hex(known[4]) == ARGV[3] and OURS or STALE
