-- ARGV: 1 ending, 2 who asks (to know him again), 3 publish
local state = field('state')
if not state then
    return {0, 'ended'}
end
if state ~= 'ended' and redis.call('HSETNX', META, 'cancel', ARGV[1]) == 1 then
    redis.call('HSET', META, 'cancelled_by', ARGV[2])
    ring(CHANNEL, 'X|' .. ARGV[1])
    ring(WRITER_CHANNEL, 'X|' .. ARGV[1])
end
return {field('cancelled_by') == ARGV[2] and 1 or 0, state}
