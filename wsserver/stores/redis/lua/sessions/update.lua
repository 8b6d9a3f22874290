-- ARGV: 4 time, 5... fields and values; an empty value removes the field
if not is_alive() then
    return {'none'}
end
for index = 5, #ARGV, 2 do
    if ARGV[index + 1] == '' then
        redis.call('HDEL', SESSION, ARGV[index])
    else
        redis.call('HSET', SESSION, ARGV[index], ARGV[index + 1])
    end
end
touch(ARGV[4])
return described()
