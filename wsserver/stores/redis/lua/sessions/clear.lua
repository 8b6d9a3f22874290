-- ARGV: 4 time
if not is_alive() then
    return {'none'}
end
drop_messages()
touch(ARGV[4])
return {'ok'}
