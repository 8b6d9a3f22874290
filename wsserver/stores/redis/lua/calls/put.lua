-- Put a letter into a node's box and ring. KEYS: box. ARGV: letter, most, ttl ms, channel, publish.
-- Returns 0 if the box is full: its node takes nothing out.
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then
    return 0
end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
ring(ARGV[4], '')
return 1
