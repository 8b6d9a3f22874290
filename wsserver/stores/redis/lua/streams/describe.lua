-- ARGV: 1 meta
if redis.call('EXISTS', META) == 1 then
    redis.call('HSET', META, 'meta', ARGV[1])
end
return 1
