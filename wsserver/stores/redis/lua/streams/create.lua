-- KEYS: those of an answer, then its bar. ARGV: 1 model, 2 meta, 3 milliseconds for which its asker
-- is believed to be there ('': it goes on without), 4 publish
if redis.call('EXISTS', KEYS[5]) == 1 then
    return {'barred'}
end
if redis.call('EXISTS', META) == 0 then
    redis.call('HSET', META, 'fence', 0, 'claims', '', 'state', 'queued', 'tokens', 0)
    redis.call('HSET', META, 'model', ARGV[1], 'meta', ARGV[2], 'attempts', 0)
    if ARGV[3] ~= '' then
        redis.call('HSET', META, 'lease', ARGV[3])
        believe(math.huge)
    end
    keep_alive()
end
return {'ok'}
