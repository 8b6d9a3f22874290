if not is_alive() then
    return {'none'}
end
local links = {}
for _, message in ipairs(redis.call('LRANGE', ORDER, 0, -1)) do
    links[#links + 1] = {message, parent_of(message)}
end
return {'ok', links}
