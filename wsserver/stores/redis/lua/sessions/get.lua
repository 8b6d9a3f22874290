if not is_alive() then
    return {'none'}
end
use(false)
return described()
