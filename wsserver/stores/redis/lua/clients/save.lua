-- ARGV: 1 node, 2 state, 3 digests of its tokens, 4 takes, 5 whether it is connected
-- Returns how it stands there.
local known = redis.call('HMGET', CLIENT, 'node', 'takes', 'gone')
-- Without the take that this state is of, this Redis has lost its last second, or all.
local is_new = not known[1] or tonumber(known[2]) < tonumber(ARGV[4])
if not is_new and (known[1] ~= ARGV[1] or known[2] ~= ARGV[4]) then
    return TAKEN
end
if not is_new and known[3] == '1' then
    return GIVEN_UP
end
if is_new then
    redis.call('DEL', CLIENT)
end
redis.call('HSET', CLIENT, 'node', ARGV[1], 'state', ARGV[2])
if is_new then
    -- Of a client that is known they change by takes alone: this state may be of before one.
    redis.call('HSET', CLIENT, 'tokens', ARGV[3], 'takes', ARGV[4])
end
if ARGV[5] == '1' then
    be_present()
elseif is_new then
    leave(60000) -- gone before it was known: its node says next for how long it may come back
end
return OURS
