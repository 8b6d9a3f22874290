-- ARGV: 4 message
if not is_alive() then
    return {'none'}
end
if redis.call('HEXISTS', TREE, ARGV[4]) == 0 then
    return {'no message', ARGV[4]}
end
return {'ok', row(ARGV[4])}
