-- ARGV: 1 node, 2 state, 3 digests of its tokens, 4 whether it is connected. Returns 0 if the client is another node's.
local node = field('node')
if node and (node ~= ARGV[1] or field('gone') == '1') then
    return 0
end
redis.call('HSET', CLIENT, 'node', ARGV[1], 'state', ARGV[2])
if not node then
    -- Of a client that is known the tokens change by takes alone: this state may be of before one.
    redis.call('HSET', CLIENT, 'tokens', ARGV[3])
end
if ARGV[4] == '1' then
    be_present()
elseif not node then
    leave(60000) -- gone before it was known: its node says next for how long it may come back
end
return 1
