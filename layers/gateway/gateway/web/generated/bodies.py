# Generated from openapi.yaml by scripts/generate/schemas.py; do not edit.
# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""Checks of bodies: each raises SchemaError for one that openapi.yaml forbids."""

from collections.abc import Callable
from typing import Any

from gateway.core.errors import SchemaError

NoneType = type(None)


def _chat_completion_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['model', 'messages']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['model', 'messages'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'model' in data_keys:
            data_keys.remove('model')
            data__model = data['model']
            if not isinstance(data__model, str):
                raise SchemaError(name_prefix + '.model', 'type', 'must be a string.')
            if isinstance(data__model, str):
                data__model_len = len(data__model)
                if data__model_len < 1:
                    raise SchemaError(name_prefix + '.model', 'minLength', 'must not be empty.')
                if data__model_len > 2048:
                    raise SchemaError(name_prefix + '.model', 'maxLength', 'must have 2048 characters or fewer.')
        if 'messages' in data_keys:
            data_keys.remove('messages')
            data__messages = data['messages']
            if not isinstance(data__messages, list):
                raise SchemaError(name_prefix + '.messages', 'type', 'must be a list.')
            data__messages_is_list = isinstance(data__messages, list)
            if data__messages_is_list:
                data__messages_len = len(data__messages)
                if data__messages_len < 1:
                    raise SchemaError(name_prefix + '.messages', 'minItems', 'must not be empty.')
                for data__messages_x, data__messages_item in enumerate(data__messages):
                    _chat_message(data__messages_item, name_prefix + f'.messages[{data__messages_x}]')
        if 'max_completion_tokens' in data_keys:
            data_keys.remove('max_completion_tokens')
            data__maxcompletiontokens = data['max_completion_tokens']
            if not isinstance(data__maxcompletiontokens, (int, NoneType)) or isinstance(data__maxcompletiontokens, bool):
                raise SchemaError(name_prefix + '.max_completion_tokens', 'type', 'must be a positive integer.')
            if isinstance(data__maxcompletiontokens, (int, float)) and (not isinstance(data__maxcompletiontokens, bool)):
                if data__maxcompletiontokens < 1:
                    raise SchemaError(name_prefix + '.max_completion_tokens', 'minimum', 'must be a positive integer.')
        if 'max_tokens' in data_keys:
            data_keys.remove('max_tokens')
            data__maxtokens = data['max_tokens']
            if not isinstance(data__maxtokens, (int, NoneType)) or isinstance(data__maxtokens, bool):
                raise SchemaError(name_prefix + '.max_tokens', 'type', 'must be a positive integer.')
            if isinstance(data__maxtokens, (int, float)) and (not isinstance(data__maxtokens, bool)):
                if data__maxtokens < 1:
                    raise SchemaError(name_prefix + '.max_tokens', 'minimum', 'must be a positive integer.')
        if 'temperature' in data_keys:
            data_keys.remove('temperature')
            data__temperature = data['temperature']
            if not isinstance(data__temperature, (int, float, NoneType)) or isinstance(data__temperature, bool):
                raise SchemaError(name_prefix + '.temperature', 'type', 'must be a number.')
            if isinstance(data__temperature, (int, float)) and (not isinstance(data__temperature, bool)):
                if data__temperature < 0:
                    raise SchemaError(name_prefix + '.temperature', 'minimum', 'must be between 0 and 2.')
                if data__temperature > 2:
                    raise SchemaError(name_prefix + '.temperature', 'maximum', 'must be between 0 and 2.')
        if 'top_p' in data_keys:
            data_keys.remove('top_p')
            data__topp = data['top_p']
            if not isinstance(data__topp, (int, float, NoneType)) or isinstance(data__topp, bool):
                raise SchemaError(name_prefix + '.top_p', 'type', 'must be a number.')
            if isinstance(data__topp, (int, float)) and (not isinstance(data__topp, bool)):
                if data__topp < 0:
                    raise SchemaError(name_prefix + '.top_p', 'minimum', 'must be between 0 and 1.')
                if data__topp > 1:
                    raise SchemaError(name_prefix + '.top_p', 'maximum', 'must be between 0 and 1.')
        if 'stop' in data_keys:
            data_keys.remove('stop')
            data__stop = data['stop']
        if 'stream' in data_keys:
            data_keys.remove('stream')
            data__stream = data['stream']
            if not isinstance(data__stream, (bool, NoneType)):
                raise SchemaError(name_prefix + '.stream', 'type', 'must be true or false.')
        if 'stream_options' in data_keys:
            data_keys.remove('stream_options')
            data__streamoptions = data['stream_options']
            _chat_stream_options_or_null(data__streamoptions, name_prefix + '.stream_options')
        if 'tools' in data_keys:
            data_keys.remove('tools')
            data__tools = data['tools']
            if not isinstance(data__tools, (list, NoneType)):
                raise SchemaError(name_prefix + '.tools', 'type', 'must be a list.')
            data__tools_is_list = isinstance(data__tools, list)
            if data__tools_is_list:
                data__tools_len = len(data__tools)
                for data__tools_x, data__tools_item in enumerate(data__tools):
                    _chat_tool(data__tools_item, name_prefix + f'.tools[{data__tools_x}]')
        if 'tool_choice' in data_keys:
            data_keys.remove('tool_choice')
            data__toolchoice = data['tool_choice']
        if 'parallel_tool_calls' in data_keys:
            data_keys.remove('parallel_tool_calls')
            data__paralleltoolcalls = data['parallel_tool_calls']
            if not isinstance(data__paralleltoolcalls, (bool, NoneType)):
                raise SchemaError(name_prefix + '.parallel_tool_calls', 'type', 'must be true or false.')
        if 'response_format' in data_keys:
            data_keys.remove('response_format')
            data__responseformat = data['response_format']
            _chat_response_format_or_null(data__responseformat, name_prefix + '.response_format')
        if 'reasoning_effort' in data_keys:
            data_keys.remove('reasoning_effort')
            data__reasoningeffort = data['reasoning_effort']
            if not isinstance(data__reasoningeffort, (str, NoneType)):
                raise SchemaError(name_prefix + '.reasoning_effort', 'type', 'must be a string.')
            if isinstance(data__reasoningeffort, str):
                data__reasoningeffort_len = len(data__reasoningeffort)
                if data__reasoningeffort_len > 16:
                    raise SchemaError(name_prefix + '.reasoning_effort', 'maxLength', 'must have 16 characters or fewer.')
        if 'service_tier' in data_keys:
            data_keys.remove('service_tier')
            data__servicetier = data['service_tier']
            if not isinstance(data__servicetier, (str, NoneType)):
                raise SchemaError(name_prefix + '.service_tier', 'type', 'must be a string.')
            if not (isinstance(data__servicetier, str) and data__servicetier == 'auto' or (isinstance(data__servicetier, str) and data__servicetier == 'default') or (isinstance(data__servicetier, str) and data__servicetier == 'flex') or (isinstance(data__servicetier, str) and data__servicetier == 'priority') or (data__servicetier is None)):
                raise SchemaError(name_prefix + '.service_tier', 'enum', 'must be one of auto, default, flex, priority.')
        if 'n' in data_keys:
            data_keys.remove('n')
            data__n = data['n']
            if not isinstance(data__n, (int, NoneType)) or isinstance(data__n, bool):
                raise SchemaError(name_prefix + '.n', 'type', 'must be a positive integer.')
            if isinstance(data__n, (int, float)) and (not isinstance(data__n, bool)):
                if data__n < 1:
                    raise SchemaError(name_prefix + '.n', 'minimum', 'must be a positive integer.')
        if 'seed' in data_keys:
            data_keys.remove('seed')
            data__seed = data['seed']
            if not isinstance(data__seed, (int, NoneType)) or isinstance(data__seed, bool):
                raise SchemaError(name_prefix + '.seed', 'type', 'must be a whole number.')
        if 'user' in data_keys:
            data_keys.remove('user')
            data__user = data['user']
            if not isinstance(data__user, (str, NoneType)):
                raise SchemaError(name_prefix + '.user', 'type', 'must be a string.')
        if 'safety_identifier' in data_keys:
            data_keys.remove('safety_identifier')
            data__safetyidentifier = data['safety_identifier']
            if not isinstance(data__safetyidentifier, (str, NoneType)):
                raise SchemaError(name_prefix + '.safety_identifier', 'type', 'must be a string.')
        if 'metadata' in data_keys:
            data_keys.remove('metadata')
            data__metadata = data['metadata']
            if not isinstance(data__metadata, (dict, NoneType)):
                raise SchemaError(name_prefix + '.metadata', 'type', 'must be an object.')


def _chat_custom_tool_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['name']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['name'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, str):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
            if isinstance(data__name, str):
                data__name_len = len(data__name)
                if data__name_len < 1:
                    raise SchemaError(name_prefix + '.name', 'minLength', 'must not be empty.')
        if 'description' in data_keys:
            data_keys.remove('description')
            data__description = data['description']
            if not isinstance(data__description, (str, NoneType)):
                raise SchemaError(name_prefix + '.description', 'type', 'must be a string.')
        if 'format' in data_keys:
            data_keys.remove('format')
            data__format = data['format']
            if not isinstance(data__format, (dict, NoneType)):
                raise SchemaError(name_prefix + '.format', 'type', 'must be an object.')


def _chat_earlier_call(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['id']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['id'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'id' in data_keys:
            data_keys.remove('id')
            data__id = data['id']
            if not isinstance(data__id, str):
                raise SchemaError(name_prefix + '.id', 'type', 'must be a string.')
            if isinstance(data__id, str):
                data__id_len = len(data__id)
                if data__id_len < 1:
                    raise SchemaError(name_prefix + '.id', 'minLength', 'must not be empty.')
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, (str, NoneType)):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if not (isinstance(data__type, str) and data__type == 'function' or (isinstance(data__type, str) and data__type == 'custom') or data__type is None):
                raise SchemaError(name_prefix + '.type', 'enum', 'must be one of function, custom.')
        if 'function' in data_keys:
            data_keys.remove('function')
            data__function = data['function']
            _chat_earlier_function_or_null(data__function, name_prefix + '.function')
        if 'custom' in data_keys:
            data_keys.remove('custom')
            data__custom = data['custom']
            if not isinstance(data__custom, (dict, NoneType)):
                raise SchemaError(name_prefix + '.custom', 'type', 'must be an object.')


def _chat_earlier_function_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['name']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['name'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, str):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
            if isinstance(data__name, str):
                data__name_len = len(data__name)
                if data__name_len < 1:
                    raise SchemaError(name_prefix + '.name', 'minLength', 'must not be empty.')
        if 'arguments' in data_keys:
            data_keys.remove('arguments')
            data__arguments = data['arguments']
            if not isinstance(data__arguments, (str, NoneType)):
                raise SchemaError(name_prefix + '.arguments', 'type', 'must be a string.')


def _chat_function_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['name']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['name'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, str):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
            if isinstance(data__name, str):
                data__name_len = len(data__name)
                if data__name_len < 1:
                    raise SchemaError(name_prefix + '.name', 'minLength', 'must not be empty.')
        if 'description' in data_keys:
            data_keys.remove('description')
            data__description = data['description']
            if not isinstance(data__description, (str, NoneType)):
                raise SchemaError(name_prefix + '.description', 'type', 'must be a string.')
        if 'parameters' in data_keys:
            data_keys.remove('parameters')
            data__parameters = data['parameters']
            if not isinstance(data__parameters, (dict, NoneType)):
                raise SchemaError(name_prefix + '.parameters', 'type', 'must be an object.')
        if 'strict' in data_keys:
            data_keys.remove('strict')
            data__strict = data['strict']
            if not isinstance(data__strict, (bool, NoneType)):
                raise SchemaError(name_prefix + '.strict', 'type', 'must be true or false.')


def _chat_json_schema_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, (str, NoneType)):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
        if 'description' in data_keys:
            data_keys.remove('description')
            data__description = data['description']
            if not isinstance(data__description, (str, NoneType)):
                raise SchemaError(name_prefix + '.description', 'type', 'must be a string.')
        if 'schema' in data_keys:
            data_keys.remove('schema')
            data__schema = data['schema']
            if not isinstance(data__schema, (dict, NoneType)):
                raise SchemaError(name_prefix + '.schema', 'type', 'must be an object.')
        if 'strict' in data_keys:
            data_keys.remove('strict')
            data__strict = data['strict']
            if not isinstance(data__strict, (bool, NoneType)):
                raise SchemaError(name_prefix + '.strict', 'type', 'must be true or false.')


def _chat_message(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['role']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['role'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'role' in data_keys:
            data_keys.remove('role')
            data__role = data['role']
            if not isinstance(data__role, str):
                raise SchemaError(name_prefix + '.role', 'type', 'must be a string.')
            if not (isinstance(data__role, str) and data__role == 'system' or (isinstance(data__role, str) and data__role == 'developer') or (isinstance(data__role, str) and data__role == 'user') or (isinstance(data__role, str) and data__role == 'assistant') or (isinstance(data__role, str) and data__role == 'tool')):
                raise SchemaError(name_prefix + '.role', 'enum', 'must be one of system, developer, user, assistant, tool.')
        if 'content' in data_keys:
            data_keys.remove('content')
            data__content = data['content']
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, (str, NoneType)):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
        if 'tool_calls' in data_keys:
            data_keys.remove('tool_calls')
            data__toolcalls = data['tool_calls']
            if not isinstance(data__toolcalls, (list, NoneType)):
                raise SchemaError(name_prefix + '.tool_calls', 'type', 'must be a list.')
            data__toolcalls_is_list = isinstance(data__toolcalls, list)
            if data__toolcalls_is_list:
                data__toolcalls_len = len(data__toolcalls)
                for data__toolcalls_x, data__toolcalls_item in enumerate(data__toolcalls):
                    _chat_earlier_call(data__toolcalls_item, name_prefix + f'.tool_calls[{data__toolcalls_x}]')
        if 'tool_call_id' in data_keys:
            data_keys.remove('tool_call_id')
            data__toolcallid = data['tool_call_id']
            if not isinstance(data__toolcallid, (str, NoneType)):
                raise SchemaError(name_prefix + '.tool_call_id', 'type', 'must be a string.')


def _chat_response_format_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['type']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['type'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, str):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if not (isinstance(data__type, str) and data__type == 'text' or (isinstance(data__type, str) and data__type == 'json_object') or (isinstance(data__type, str) and data__type == 'json_schema')):
                raise SchemaError(name_prefix + '.type', 'enum', 'must be one of text, json_object, json_schema.')
        if 'json_schema' in data_keys:
            data_keys.remove('json_schema')
            data__jsonschema = data['json_schema']
            _chat_json_schema_or_null(data__jsonschema, name_prefix + '.json_schema')


def _chat_stream_options_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'include_usage' in data_keys:
            data_keys.remove('include_usage')
            data__includeusage = data['include_usage']
            if not isinstance(data__includeusage, (bool, NoneType)):
                raise SchemaError(name_prefix + '.include_usage', 'type', 'must be true or false.')


def _chat_tool(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['type']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['type'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, str):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if isinstance(data__type, str):
                data__type_len = len(data__type)
                if data__type_len < 1:
                    raise SchemaError(name_prefix + '.type', 'minLength', 'must not be empty.')
                if data__type_len > 64:
                    raise SchemaError(name_prefix + '.type', 'maxLength', 'must have 64 characters or fewer.')
        if 'function' in data_keys:
            data_keys.remove('function')
            data__function = data['function']
            _chat_function_or_null(data__function, name_prefix + '.function')
        if 'custom' in data_keys:
            data_keys.remove('custom')
            data__custom = data['custom']
            _chat_custom_tool_or_null(data__custom, name_prefix + '.custom')


def _converse_block(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'text' in data_keys:
            data_keys.remove('text')
            data__text = data['text']
            if not isinstance(data__text, (str, NoneType)):
                raise SchemaError(name_prefix + '.text', 'type', 'must be a string.')
        if 'image' in data_keys:
            data_keys.remove('image')
            data__image = data['image']
            if not isinstance(data__image, (dict, NoneType)):
                raise SchemaError(name_prefix + '.image', 'type', 'must be an object.')
        if 'document' in data_keys:
            data_keys.remove('document')
            data__document = data['document']
            if not isinstance(data__document, (dict, NoneType)):
                raise SchemaError(name_prefix + '.document', 'type', 'must be an object.')
        if 'video' in data_keys:
            data_keys.remove('video')
            data__video = data['video']
            if not isinstance(data__video, (dict, NoneType)):
                raise SchemaError(name_prefix + '.video', 'type', 'must be an object.')
        if 'audio' in data_keys:
            data_keys.remove('audio')
            data__audio = data['audio']
            if not isinstance(data__audio, (dict, NoneType)):
                raise SchemaError(name_prefix + '.audio', 'type', 'must be an object.')
        if 'toolUse' in data_keys:
            data_keys.remove('toolUse')
            data__toolUse = data['toolUse']
            if not isinstance(data__toolUse, (dict, NoneType)):
                raise SchemaError(name_prefix + '.toolUse', 'type', 'must be an object.')
        if 'toolResult' in data_keys:
            data_keys.remove('toolResult')
            data__toolResult = data['toolResult']
            if not isinstance(data__toolResult, (dict, NoneType)):
                raise SchemaError(name_prefix + '.toolResult', 'type', 'must be an object.')
        if 'reasoningContent' in data_keys:
            data_keys.remove('reasoningContent')
            data__reasoningContent = data['reasoningContent']
            if not isinstance(data__reasoningContent, (dict, NoneType)):
                raise SchemaError(name_prefix + '.reasoningContent', 'type', 'must be an object.')
        if 'guardContent' in data_keys:
            data_keys.remove('guardContent')
            data__guardContent = data['guardContent']
            if not isinstance(data__guardContent, (dict, NoneType)):
                raise SchemaError(name_prefix + '.guardContent', 'type', 'must be an object.')
        if 'cachePoint' in data_keys:
            data_keys.remove('cachePoint')
            data__cachePoint = data['cachePoint']
            if not isinstance(data__cachePoint, (dict, NoneType)):
                raise SchemaError(name_prefix + '.cachePoint', 'type', 'must be an object.')


def _converse_guardrail_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'guardrailIdentifier' in data_keys:
            data_keys.remove('guardrailIdentifier')
            data__guardrailIdentifier = data['guardrailIdentifier']
            if not isinstance(data__guardrailIdentifier, (str, NoneType)):
                raise SchemaError(name_prefix + '.guardrailIdentifier', 'type', 'must be a string.')
            if isinstance(data__guardrailIdentifier, str):
                data__guardrailIdentifier_len = len(data__guardrailIdentifier)
                if data__guardrailIdentifier_len > 2048:
                    raise SchemaError(name_prefix + '.guardrailIdentifier', 'maxLength', 'must have 2048 characters or fewer.')
        if 'guardrailVersion' in data_keys:
            data_keys.remove('guardrailVersion')
            data__guardrailVersion = data['guardrailVersion']
            if not isinstance(data__guardrailVersion, (str, NoneType)):
                raise SchemaError(name_prefix + '.guardrailVersion', 'type', 'must be a string.')
            if isinstance(data__guardrailVersion, str):
                data__guardrailVersion_len = len(data__guardrailVersion)
                if data__guardrailVersion_len > 16:
                    raise SchemaError(name_prefix + '.guardrailVersion', 'maxLength', 'must have 16 characters or fewer.')
        if 'trace' in data_keys:
            data_keys.remove('trace')
            data__trace = data['trace']
            if not isinstance(data__trace, (str, NoneType)):
                raise SchemaError(name_prefix + '.trace', 'type', 'must be a string.')
            if not (isinstance(data__trace, str) and data__trace == 'enabled' or (isinstance(data__trace, str) and data__trace == 'disabled') or (isinstance(data__trace, str) and data__trace == 'enabled_full') or (data__trace is None)):
                raise SchemaError(name_prefix + '.trace', 'enum', 'must be one of enabled, disabled, enabled_full.')
        if 'streamProcessingMode' in data_keys:
            data_keys.remove('streamProcessingMode')
            data__streamProcessingMode = data['streamProcessingMode']
            if not isinstance(data__streamProcessingMode, (str, NoneType)):
                raise SchemaError(name_prefix + '.streamProcessingMode', 'type', 'must be a string.')
            if not (isinstance(data__streamProcessingMode, str) and data__streamProcessingMode == 'sync' or (isinstance(data__streamProcessingMode, str) and data__streamProcessingMode == 'async') or data__streamProcessingMode is None):
                raise SchemaError(name_prefix + '.streamProcessingMode', 'enum', 'must be one of sync, async.')


def _converse_inference_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'maxTokens' in data_keys:
            data_keys.remove('maxTokens')
            data__maxTokens = data['maxTokens']
            if not isinstance(data__maxTokens, (int, NoneType)) or isinstance(data__maxTokens, bool):
                raise SchemaError(name_prefix + '.maxTokens', 'type', 'must be a positive integer.')
            if isinstance(data__maxTokens, (int, float)) and (not isinstance(data__maxTokens, bool)):
                if data__maxTokens < 1:
                    raise SchemaError(name_prefix + '.maxTokens', 'minimum', 'must be a positive integer.')
        if 'temperature' in data_keys:
            data_keys.remove('temperature')
            data__temperature = data['temperature']
            if not isinstance(data__temperature, (int, float, NoneType)) or isinstance(data__temperature, bool):
                raise SchemaError(name_prefix + '.temperature', 'type', 'must be a number.')
            if isinstance(data__temperature, (int, float)) and (not isinstance(data__temperature, bool)):
                if data__temperature < 0:
                    raise SchemaError(name_prefix + '.temperature', 'minimum', 'must be between 0 and 1.')
                if data__temperature > 1:
                    raise SchemaError(name_prefix + '.temperature', 'maximum', 'must be between 0 and 1.')
        if 'topP' in data_keys:
            data_keys.remove('topP')
            data__topP = data['topP']
            if not isinstance(data__topP, (int, float, NoneType)) or isinstance(data__topP, bool):
                raise SchemaError(name_prefix + '.topP', 'type', 'must be a number.')
            if isinstance(data__topP, (int, float)) and (not isinstance(data__topP, bool)):
                if data__topP < 0:
                    raise SchemaError(name_prefix + '.topP', 'minimum', 'must be between 0 and 1.')
                if data__topP > 1:
                    raise SchemaError(name_prefix + '.topP', 'maximum', 'must be between 0 and 1.')
        if 'stopSequences' in data_keys:
            data_keys.remove('stopSequences')
            data__stopSequences = data['stopSequences']
            if not isinstance(data__stopSequences, (list, NoneType)):
                raise SchemaError(name_prefix + '.stopSequences', 'type', 'must be a list.')
            data__stopSequences_is_list = isinstance(data__stopSequences, list)
            if data__stopSequences_is_list:
                data__stopSequences_len = len(data__stopSequences)
                if data__stopSequences_len > 2500:
                    raise SchemaError(name_prefix + '.stopSequences', 'maxItems', 'must have 2500 entries or fewer.')
                for data__stopSequences_x, data__stopSequences_item in enumerate(data__stopSequences):
                    if not isinstance(data__stopSequences_item, str):
                        raise SchemaError(name_prefix + f'.stopSequences[{data__stopSequences_x}]', 'type', 'must be a string.')


def _converse_message(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['role', 'content']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['role', 'content'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'role' in data_keys:
            data_keys.remove('role')
            data__role = data['role']
            if not isinstance(data__role, str):
                raise SchemaError(name_prefix + '.role', 'type', 'must be a string.')
            if not (isinstance(data__role, str) and data__role == 'user' or (isinstance(data__role, str) and data__role == 'assistant') or (isinstance(data__role, str) and data__role == 'system')):
                raise SchemaError(name_prefix + '.role', 'enum', 'must be one of user, assistant, system.')
        if 'content' in data_keys:
            data_keys.remove('content')
            data__content = data['content']
            if not isinstance(data__content, list):
                raise SchemaError(name_prefix + '.content', 'type', 'must be a list.')
            data__content_is_list = isinstance(data__content, list)
            if data__content_is_list:
                data__content_len = len(data__content)
                for data__content_x, data__content_item in enumerate(data__content):
                    _converse_block(data__content_item, name_prefix + f'.content[{data__content_x}]')


def _converse_performance_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'latency' in data_keys:
            data_keys.remove('latency')
            data__latency = data['latency']
            if not isinstance(data__latency, (str, NoneType)):
                raise SchemaError(name_prefix + '.latency', 'type', 'must be a string.')
            if not (isinstance(data__latency, str) and data__latency == 'standard' or (isinstance(data__latency, str) and data__latency == 'optimized') or data__latency is None):
                raise SchemaError(name_prefix + '.latency', 'enum', 'must be one of standard, optimized.')


def _converse_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'messages' in data_keys:
            data_keys.remove('messages')
            data__messages = data['messages']
            if not isinstance(data__messages, (list, NoneType)):
                raise SchemaError(name_prefix + '.messages', 'type', 'must be a list.')
            data__messages_is_list = isinstance(data__messages, list)
            if data__messages_is_list:
                data__messages_len = len(data__messages)
                for data__messages_x, data__messages_item in enumerate(data__messages):
                    _converse_message(data__messages_item, name_prefix + f'.messages[{data__messages_x}]')
        if 'system' in data_keys:
            data_keys.remove('system')
            data__system = data['system']
            if not isinstance(data__system, (list, NoneType)):
                raise SchemaError(name_prefix + '.system', 'type', 'must be a list.')
            data__system_is_list = isinstance(data__system, list)
            if data__system_is_list:
                data__system_len = len(data__system)
                for data__system_x, data__system_item in enumerate(data__system):
                    _converse_block(data__system_item, name_prefix + f'.system[{data__system_x}]')
        if 'inferenceConfig' in data_keys:
            data_keys.remove('inferenceConfig')
            data__inferenceConfig = data['inferenceConfig']
            _converse_inference_or_null(data__inferenceConfig, name_prefix + '.inferenceConfig')
        if 'toolConfig' in data_keys:
            data_keys.remove('toolConfig')
            data__toolConfig = data['toolConfig']
            _converse_tools_or_null(data__toolConfig, name_prefix + '.toolConfig')
        if 'guardrailConfig' in data_keys:
            data_keys.remove('guardrailConfig')
            data__guardrailConfig = data['guardrailConfig']
            _converse_guardrail_or_null(data__guardrailConfig, name_prefix + '.guardrailConfig')
        if 'additionalModelRequestFields' in data_keys:
            data_keys.remove('additionalModelRequestFields')
            data__additionalModelRequestFields = data['additionalModelRequestFields']
            if not isinstance(data__additionalModelRequestFields, (dict, NoneType)):
                raise SchemaError(name_prefix + '.additionalModelRequestFields', 'type', 'must be an object.')
        if 'additionalModelResponseFieldPaths' in data_keys:
            data_keys.remove('additionalModelResponseFieldPaths')
            data__additionalModelResponseFieldPaths = data['additionalModelResponseFieldPaths']
            if not isinstance(data__additionalModelResponseFieldPaths, (list, NoneType)):
                raise SchemaError(name_prefix + '.additionalModelResponseFieldPaths', 'type', 'must be a list.')
            data__additionalModelResponseFieldPaths_is_list = isinstance(data__additionalModelResponseFieldPaths, list)
            if data__additionalModelResponseFieldPaths_is_list:
                data__additionalModelResponseFieldPaths_len = len(data__additionalModelResponseFieldPaths)
                if data__additionalModelResponseFieldPaths_len > 10:
                    raise SchemaError(name_prefix + '.additionalModelResponseFieldPaths', 'maxItems', 'must have 10 entries or fewer.')
                for data__additionalModelResponseFieldPaths_x, data__additionalModelResponseFieldPaths_item in enumerate(data__additionalModelResponseFieldPaths):
                    if not isinstance(data__additionalModelResponseFieldPaths_item, str):
                        raise SchemaError(name_prefix + f'.additionalModelResponseFieldPaths[{data__additionalModelResponseFieldPaths_x}]', 'type', 'must be a string.')
        if 'promptVariables' in data_keys:
            data_keys.remove('promptVariables')
            data__promptVariables = data['promptVariables']
            if not isinstance(data__promptVariables, (dict, NoneType)):
                raise SchemaError(name_prefix + '.promptVariables', 'type', 'must be an object.')
        if 'requestMetadata' in data_keys:
            data_keys.remove('requestMetadata')
            data__requestMetadata = data['requestMetadata']
            if not isinstance(data__requestMetadata, (dict, NoneType)):
                raise SchemaError(name_prefix + '.requestMetadata', 'type', 'must be an object.')
            data__requestMetadata_is_dict = isinstance(data__requestMetadata, dict)
            if data__requestMetadata_is_dict:
                data__requestMetadata_keys = set(data__requestMetadata.keys())
                for data__requestMetadata_key in data__requestMetadata_keys:
                    if data__requestMetadata_key not in []:
                        data__requestMetadata_value = data__requestMetadata.get(data__requestMetadata_key)
                        if not isinstance(data__requestMetadata_value, str):
                            raise SchemaError(name_prefix + f'.requestMetadata.{data__requestMetadata_key}', 'type', 'must be a string.')
        if 'performanceConfig' in data_keys:
            data_keys.remove('performanceConfig')
            data__performanceConfig = data['performanceConfig']
            _converse_performance_or_null(data__performanceConfig, name_prefix + '.performanceConfig')
        if 'serviceTier' in data_keys:
            data_keys.remove('serviceTier')
            data__serviceTier = data['serviceTier']
            _converse_service_tier_or_null(data__serviceTier, name_prefix + '.serviceTier')
        if 'outputConfig' in data_keys:
            data_keys.remove('outputConfig')
            data__outputConfig = data['outputConfig']
            if not isinstance(data__outputConfig, (dict, NoneType)):
                raise SchemaError(name_prefix + '.outputConfig', 'type', 'must be an object.')


def _converse_service_tier_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['type']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['type'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, str):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if not (isinstance(data__type, str) and data__type == 'priority' or (isinstance(data__type, str) and data__type == 'default') or (isinstance(data__type, str) and data__type == 'flex') or (isinstance(data__type, str) and data__type == 'reserved')):
                raise SchemaError(name_prefix + '.type', 'enum', 'must be one of priority, default, flex, reserved.')


def _converse_tokens_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'messages' in data_keys:
            data_keys.remove('messages')
            data__messages = data['messages']
            if not isinstance(data__messages, (list, NoneType)):
                raise SchemaError(name_prefix + '.messages', 'type', 'must be a list.')
            data__messages_is_list = isinstance(data__messages, list)
            if data__messages_is_list:
                data__messages_len = len(data__messages)
                for data__messages_x, data__messages_item in enumerate(data__messages):
                    _converse_message(data__messages_item, name_prefix + f'.messages[{data__messages_x}]')
        if 'system' in data_keys:
            data_keys.remove('system')
            data__system = data['system']
            if not isinstance(data__system, (list, NoneType)):
                raise SchemaError(name_prefix + '.system', 'type', 'must be a list.')
            data__system_is_list = isinstance(data__system, list)
            if data__system_is_list:
                data__system_len = len(data__system)
                for data__system_x, data__system_item in enumerate(data__system):
                    _converse_block(data__system_item, name_prefix + f'.system[{data__system_x}]')
        if 'toolConfig' in data_keys:
            data_keys.remove('toolConfig')
            data__toolConfig = data['toolConfig']
            _converse_tools_or_null(data__toolConfig, name_prefix + '.toolConfig')
        if 'additionalModelRequestFields' in data_keys:
            data_keys.remove('additionalModelRequestFields')
            data__additionalModelRequestFields = data['additionalModelRequestFields']
            if not isinstance(data__additionalModelRequestFields, (dict, NoneType)):
                raise SchemaError(name_prefix + '.additionalModelRequestFields', 'type', 'must be an object.')


def _converse_tools_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['tools']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['tools'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'tools' in data_keys:
            data_keys.remove('tools')
            data__tools = data['tools']
            if not isinstance(data__tools, list):
                raise SchemaError(name_prefix + '.tools', 'type', 'must be a list.')
            data__tools_is_list = isinstance(data__tools, list)
            if data__tools_is_list:
                data__tools_len = len(data__tools)
                if data__tools_len < 1:
                    raise SchemaError(name_prefix + '.tools', 'minItems', 'must not be empty.')
                for data__tools_x, data__tools_item in enumerate(data__tools):
                    if not isinstance(data__tools_item, dict):
                        raise SchemaError(name_prefix + f'.tools[{data__tools_x}]', 'type', 'must be an object.')
        if 'toolChoice' in data_keys:
            data_keys.remove('toolChoice')
            data__toolChoice = data['toolChoice']
            if not isinstance(data__toolChoice, (dict, NoneType)):
                raise SchemaError(name_prefix + '.toolChoice', 'type', 'must be an object.')


def _count_message_tokens_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['model', 'messages']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['model', 'messages'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'model' in data_keys:
            data_keys.remove('model')
            data__model = data['model']
            if not isinstance(data__model, str):
                raise SchemaError(name_prefix + '.model', 'type', 'must be a string.')
            if isinstance(data__model, str):
                data__model_len = len(data__model)
                if data__model_len < 1:
                    raise SchemaError(name_prefix + '.model', 'minLength', 'must not be empty.')
                if data__model_len > 2048:
                    raise SchemaError(name_prefix + '.model', 'maxLength', 'must have 2048 characters or fewer.')
        if 'messages' in data_keys:
            data_keys.remove('messages')
            data__messages = data['messages']
            if not isinstance(data__messages, list):
                raise SchemaError(name_prefix + '.messages', 'type', 'must be a list.')
            data__messages_is_list = isinstance(data__messages, list)
            if data__messages_is_list:
                data__messages_len = len(data__messages)
                if data__messages_len < 1:
                    raise SchemaError(name_prefix + '.messages', 'minItems', 'must not be empty.')
                for data__messages_x, data__messages_item in enumerate(data__messages):
                    _message_param(data__messages_item, name_prefix + f'.messages[{data__messages_x}]')
        if 'system' in data_keys:
            data_keys.remove('system')
            data__system = data['system']
        if 'tools' in data_keys:
            data_keys.remove('tools')
            data__tools = data['tools']
            if not isinstance(data__tools, (list, NoneType)):
                raise SchemaError(name_prefix + '.tools', 'type', 'must be a list.')
            data__tools_is_list = isinstance(data__tools, list)
            if data__tools_is_list:
                data__tools_len = len(data__tools)
                for data__tools_x, data__tools_item in enumerate(data__tools):
                    _message_tool(data__tools_item, name_prefix + f'.tools[{data__tools_x}]')
        if 'tool_choice' in data_keys:
            data_keys.remove('tool_choice')
            data__toolchoice = data['tool_choice']
            _message_tool_choice_or_null(data__toolchoice, name_prefix + '.tool_choice')
        if 'thinking' in data_keys:
            data_keys.remove('thinking')
            data__thinking = data['thinking']
            _message_thinking_or_null(data__thinking, name_prefix + '.thinking')
        if 'output_config' in data_keys:
            data_keys.remove('output_config')
            data__outputconfig = data['output_config']
            if not isinstance(data__outputconfig, (dict, NoneType)):
                raise SchemaError(name_prefix + '.output_config', 'type', 'must be an object.')
        if 'output_format' in data_keys:
            data_keys.remove('output_format')
            data__outputformat = data['output_format']
            if not isinstance(data__outputformat, (dict, NoneType)):
                raise SchemaError(name_prefix + '.output_format', 'type', 'must be an object.')
        if 'context_management' in data_keys:
            data_keys.remove('context_management')
            data__contextmanagement = data['context_management']
            if not isinstance(data__contextmanagement, (dict, NoneType)):
                raise SchemaError(name_prefix + '.context_management', 'type', 'must be an object.')
        if 'cache_control' in data_keys:
            data_keys.remove('cache_control')
            data__cachecontrol = data['cache_control']
            if not isinstance(data__cachecontrol, (dict, NoneType)):
                raise SchemaError(name_prefix + '.cache_control', 'type', 'must be an object.')
        if 'max_tokens' in data_keys:
            data_keys.remove('max_tokens')
            data__maxtokens = data['max_tokens']
            if not isinstance(data__maxtokens, (int, NoneType)) or isinstance(data__maxtokens, bool):
                raise SchemaError(name_prefix + '.max_tokens', 'type', 'must be a whole number.')
        if 'temperature' in data_keys:
            data_keys.remove('temperature')
            data__temperature = data['temperature']
            if not isinstance(data__temperature, (int, float, NoneType)) or isinstance(data__temperature, bool):
                raise SchemaError(name_prefix + '.temperature', 'type', 'must be a number.')
        if 'top_p' in data_keys:
            data_keys.remove('top_p')
            data__topp = data['top_p']
            if not isinstance(data__topp, (int, float, NoneType)) or isinstance(data__topp, bool):
                raise SchemaError(name_prefix + '.top_p', 'type', 'must be a number.')
        if 'top_k' in data_keys:
            data_keys.remove('top_k')
            data__topk = data['top_k']
            if not isinstance(data__topk, (int, NoneType)) or isinstance(data__topk, bool):
                raise SchemaError(name_prefix + '.top_k', 'type', 'must be a whole number.')
        if 'stop_sequences' in data_keys:
            data_keys.remove('stop_sequences')
            data__stopsequences = data['stop_sequences']
            if not isinstance(data__stopsequences, (list, NoneType)):
                raise SchemaError(name_prefix + '.stop_sequences', 'type', 'must be a list.')
            data__stopsequences_is_list = isinstance(data__stopsequences, list)
            if data__stopsequences_is_list:
                data__stopsequences_len = len(data__stopsequences)
                for data__stopsequences_x, data__stopsequences_item in enumerate(data__stopsequences):
                    if not isinstance(data__stopsequences_item, str):
                        raise SchemaError(name_prefix + f'.stop_sequences[{data__stopsequences_x}]', 'type', 'must be a string.')
        if 'metadata' in data_keys:
            data_keys.remove('metadata')
            data__metadata = data['metadata']
            _message_metadata_or_null(data__metadata, name_prefix + '.metadata')
        if 'speed' in data_keys:
            data_keys.remove('speed')
            data__speed = data['speed']
            if not isinstance(data__speed, (str, NoneType)):
                raise SchemaError(name_prefix + '.speed', 'type', 'must be a string.')
        if 'diagnostics' in data_keys:
            data_keys.remove('diagnostics')
            data__diagnostics = data['diagnostics']
            if not isinstance(data__diagnostics, (dict, NoneType)):
                raise SchemaError(name_prefix + '.diagnostics', 'type', 'must be an object.')
        if 'fallbacks' in data_keys:
            data_keys.remove('fallbacks')
            data__fallbacks = data['fallbacks']
            if not isinstance(data__fallbacks, (list, NoneType)):
                raise SchemaError(name_prefix + '.fallbacks', 'type', 'must be a list.')
            data__fallbacks_is_list = isinstance(data__fallbacks, list)
            if data__fallbacks_is_list:
                data__fallbacks_len = len(data__fallbacks)
                for data__fallbacks_x, data__fallbacks_item in enumerate(data__fallbacks):
                    if not isinstance(data__fallbacks_item, dict):
                        raise SchemaError(name_prefix + f'.fallbacks[{data__fallbacks_x}]', 'type', 'must be an object.')


def _count_tokens_input(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'converse' in data_keys:
            data_keys.remove('converse')
            data__converse = data['converse']
            _converse_tokens_or_null(data__converse, name_prefix + '.converse')
        if 'invokeModel' in data_keys:
            data_keys.remove('invokeModel')
            data__invokeModel = data['invokeModel']
            _invoke_tokens_or_null(data__invokeModel, name_prefix + '.invokeModel')


def _count_tokens_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['input']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['input'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'input' in data_keys:
            data_keys.remove('input')
            data__input = data['input']
            _count_tokens_input(data__input, name_prefix + '.input')


def _embeddings_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['model', 'input']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['model', 'input'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'model' in data_keys:
            data_keys.remove('model')
            data__model = data['model']
            if not isinstance(data__model, str):
                raise SchemaError(name_prefix + '.model', 'type', 'must be a string.')
            if isinstance(data__model, str):
                data__model_len = len(data__model)
                if data__model_len < 1:
                    raise SchemaError(name_prefix + '.model', 'minLength', 'must not be empty.')
                if data__model_len > 2048:
                    raise SchemaError(name_prefix + '.model', 'maxLength', 'must have 2048 characters or fewer.')
        if 'input' in data_keys:
            data_keys.remove('input')
            data__input = data['input']
        if 'encoding_format' in data_keys:
            data_keys.remove('encoding_format')
            data__encodingformat = data['encoding_format']
            if not isinstance(data__encodingformat, (str, NoneType)):
                raise SchemaError(name_prefix + '.encoding_format', 'type', 'must be a string.')
            if not (isinstance(data__encodingformat, str) and data__encodingformat == 'float' or (isinstance(data__encodingformat, str) and data__encodingformat == 'base64') or data__encodingformat is None):
                raise SchemaError(name_prefix + '.encoding_format', 'enum', 'must be one of float, base64.')
        if 'dimensions' in data_keys:
            data_keys.remove('dimensions')
            data__dimensions = data['dimensions']
            if not isinstance(data__dimensions, (int, NoneType)) or isinstance(data__dimensions, bool):
                raise SchemaError(name_prefix + '.dimensions', 'type', 'must be a whole number.')
            if isinstance(data__dimensions, (int, float)) and (not isinstance(data__dimensions, bool)):
                if data__dimensions < 1:
                    raise SchemaError(name_prefix + '.dimensions', 'minimum', 'must be between 1 and 65536.')
                if data__dimensions > 65536:
                    raise SchemaError(name_prefix + '.dimensions', 'maximum', 'must be between 1 and 65536.')
        if 'input_type' in data_keys:
            data_keys.remove('input_type')
            data__inputtype = data['input_type']
            if not isinstance(data__inputtype, (str, NoneType)):
                raise SchemaError(name_prefix + '.input_type', 'type', 'must be a string.')
            if not (isinstance(data__inputtype, str) and data__inputtype == 'search_document' or (isinstance(data__inputtype, str) and data__inputtype == 'search_query') or (isinstance(data__inputtype, str) and data__inputtype == 'classification') or (isinstance(data__inputtype, str) and data__inputtype == 'clustering') or (data__inputtype is None)):
                raise SchemaError(name_prefix + '.input_type', 'enum', 'must be one of search_document, search_query, classification, clustering.')
        if 'user' in data_keys:
            data_keys.remove('user')
            data__user = data['user']
            if not isinstance(data__user, (str, NoneType)):
                raise SchemaError(name_prefix + '.user', 'type', 'must be a string.')
        if 'safety_identifier' in data_keys:
            data_keys.remove('safety_identifier')
            data__safetyidentifier = data['safety_identifier']
            if not isinstance(data__safetyidentifier, (str, NoneType)):
                raise SchemaError(name_prefix + '.safety_identifier', 'type', 'must be a string.')
        if 'metadata' in data_keys:
            data_keys.remove('metadata')
            data__metadata = data['metadata']
            if not isinstance(data__metadata, (dict, NoneType)):
                raise SchemaError(name_prefix + '.metadata', 'type', 'must be an object.')


def _invoke_model_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'inputs' in data_keys:
            data_keys.remove('inputs')
            data__inputs = data['inputs']
        if 'parameters' in data_keys:
            data_keys.remove('parameters')
            data__parameters = data['parameters']
            if not isinstance(data__parameters, (dict, NoneType)):
                raise SchemaError(name_prefix + '.parameters', 'type', 'must be an object.')
        if 'additional_model_fields' in data_keys:
            data_keys.remove('additional_model_fields')
            data__additionalmodelfields = data['additional_model_fields']
            if not isinstance(data__additionalmodelfields, (dict, NoneType)):
                raise SchemaError(name_prefix + '.additional_model_fields', 'type', 'must be an object.')
        if 'tool_config' in data_keys:
            data_keys.remove('tool_config')
            data__toolconfig = data['tool_config']
            _legacy_tool_config_or_null(data__toolconfig, name_prefix + '.tool_config')
        if 'toolConfig' in data_keys:
            data_keys.remove('toolConfig')
            data__toolConfig = data['toolConfig']
            _legacy_tool_config_or_null(data__toolConfig, name_prefix + '.toolConfig')
        if 'text_prompts' in data_keys:
            data_keys.remove('text_prompts')
            data__textprompts = data['text_prompts']
            if not isinstance(data__textprompts, (list, NoneType)):
                raise SchemaError(name_prefix + '.text_prompts', 'type', 'must be a list.')
            data__textprompts_is_list = isinstance(data__textprompts, list)
            if data__textprompts_is_list:
                data__textprompts_len = len(data__textprompts)
                for data__textprompts_x, data__textprompts_item in enumerate(data__textprompts):
                    if not isinstance(data__textprompts_item, dict):
                        raise SchemaError(name_prefix + f'.text_prompts[{data__textprompts_x}]', 'type', 'must be an object.')
        if 'textToImageParams' in data_keys:
            data_keys.remove('textToImageParams')
            data__textToImageParams = data['textToImageParams']
            if not isinstance(data__textToImageParams, (dict, NoneType)):
                raise SchemaError(name_prefix + '.textToImageParams', 'type', 'must be an object.')


def _invoke_tokens_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['body']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['body'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'body' in data_keys:
            data_keys.remove('body')
            data__body = data['body']
            if not isinstance(data__body, str):
                raise SchemaError(name_prefix + '.body', 'type', 'must be a string.')


def _legacy_tool_config_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')


def _message_metadata_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'user_id' in data_keys:
            data_keys.remove('user_id')
            data__userid = data['user_id']
            if not isinstance(data__userid, (str, NoneType)):
                raise SchemaError(name_prefix + '.user_id', 'type', 'must be a string.')


def _message_param(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['role', 'content']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['role', 'content'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'role' in data_keys:
            data_keys.remove('role')
            data__role = data['role']
            if not isinstance(data__role, str):
                raise SchemaError(name_prefix + '.role', 'type', 'must be a string.')
            if not (isinstance(data__role, str) and data__role == 'user' or (isinstance(data__role, str) and data__role == 'assistant') or (isinstance(data__role, str) and data__role == 'system')):
                raise SchemaError(name_prefix + '.role', 'enum', 'must be one of user, assistant, system.')
        if 'content' in data_keys:
            data_keys.remove('content')
            data__content = data['content']


def _message_thinking_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['type']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['type'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, str):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if not (isinstance(data__type, str) and data__type == 'enabled' or (isinstance(data__type, str) and data__type == 'disabled') or (isinstance(data__type, str) and data__type == 'adaptive')):
                raise SchemaError(name_prefix + '.type', 'enum', 'must be one of enabled, disabled, adaptive.')
        if 'budget_tokens' in data_keys:
            data_keys.remove('budget_tokens')
            data__budgettokens = data['budget_tokens']
            if not isinstance(data__budgettokens, (int, NoneType)) or isinstance(data__budgettokens, bool):
                raise SchemaError(name_prefix + '.budget_tokens', 'type', 'must be a positive integer.')
            if isinstance(data__budgettokens, (int, float)) and (not isinstance(data__budgettokens, bool)):
                if data__budgettokens < 1:
                    raise SchemaError(name_prefix + '.budget_tokens', 'minimum', 'must be a positive integer.')


def _message_tool(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, (str, NoneType)):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
            if isinstance(data__name, str):
                data__name_len = len(data__name)
                if data__name_len < 1:
                    raise SchemaError(name_prefix + '.name', 'minLength', 'must not be empty.')
        if 'description' in data_keys:
            data_keys.remove('description')
            data__description = data['description']
            if not isinstance(data__description, (str, NoneType)):
                raise SchemaError(name_prefix + '.description', 'type', 'must be a string.')
        if 'input_schema' in data_keys:
            data_keys.remove('input_schema')
            data__inputschema = data['input_schema']
            if not isinstance(data__inputschema, (dict, NoneType)):
                raise SchemaError(name_prefix + '.input_schema', 'type', 'must be an object.')
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, (str, NoneType)):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
        if 'cache_control' in data_keys:
            data_keys.remove('cache_control')
            data__cachecontrol = data['cache_control']
            if not isinstance(data__cachecontrol, (dict, NoneType)):
                raise SchemaError(name_prefix + '.cache_control', 'type', 'must be an object.')


def _message_tool_choice_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['type']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['type'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, str):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if not (isinstance(data__type, str) and data__type == 'auto' or (isinstance(data__type, str) and data__type == 'any') or (isinstance(data__type, str) and data__type == 'tool') or (isinstance(data__type, str) and data__type == 'none')):
                raise SchemaError(name_prefix + '.type', 'enum', 'must be one of auto, any, tool, none.')
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, (str, NoneType)):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
        if 'disable_parallel_tool_use' in data_keys:
            data_keys.remove('disable_parallel_tool_use')
            data__disableparalleltooluse = data['disable_parallel_tool_use']
            if not isinstance(data__disableparalleltooluse, (bool, NoneType)):
                raise SchemaError(name_prefix + '.disable_parallel_tool_use', 'type', 'must be true or false.')


def _messages_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['model', 'max_tokens', 'messages']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['model', 'max_tokens', 'messages'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'model' in data_keys:
            data_keys.remove('model')
            data__model = data['model']
            if not isinstance(data__model, str):
                raise SchemaError(name_prefix + '.model', 'type', 'must be a string.')
            if isinstance(data__model, str):
                data__model_len = len(data__model)
                if data__model_len < 1:
                    raise SchemaError(name_prefix + '.model', 'minLength', 'must not be empty.')
                if data__model_len > 2048:
                    raise SchemaError(name_prefix + '.model', 'maxLength', 'must have 2048 characters or fewer.')
        if 'max_tokens' in data_keys:
            data_keys.remove('max_tokens')
            data__maxtokens = data['max_tokens']
            if not isinstance(data__maxtokens, int) or isinstance(data__maxtokens, bool):
                raise SchemaError(name_prefix + '.max_tokens', 'type', 'must be a whole number.')
            if isinstance(data__maxtokens, (int, float)) and (not isinstance(data__maxtokens, bool)):
                if data__maxtokens < 0:
                    raise SchemaError(name_prefix + '.max_tokens', 'minimum', 'must be 0 or more.')
        if 'messages' in data_keys:
            data_keys.remove('messages')
            data__messages = data['messages']
            if not isinstance(data__messages, list):
                raise SchemaError(name_prefix + '.messages', 'type', 'must be a list.')
            data__messages_is_list = isinstance(data__messages, list)
            if data__messages_is_list:
                data__messages_len = len(data__messages)
                if data__messages_len < 1:
                    raise SchemaError(name_prefix + '.messages', 'minItems', 'must not be empty.')
                for data__messages_x, data__messages_item in enumerate(data__messages):
                    _message_param(data__messages_item, name_prefix + f'.messages[{data__messages_x}]')
        if 'system' in data_keys:
            data_keys.remove('system')
            data__system = data['system']
        if 'temperature' in data_keys:
            data_keys.remove('temperature')
            data__temperature = data['temperature']
            if not isinstance(data__temperature, (int, float, NoneType)) or isinstance(data__temperature, bool):
                raise SchemaError(name_prefix + '.temperature', 'type', 'must be a number.')
            if isinstance(data__temperature, (int, float)) and (not isinstance(data__temperature, bool)):
                if data__temperature < 0:
                    raise SchemaError(name_prefix + '.temperature', 'minimum', 'must be between 0 and 1.')
                if data__temperature > 1:
                    raise SchemaError(name_prefix + '.temperature', 'maximum', 'must be between 0 and 1.')
        if 'top_p' in data_keys:
            data_keys.remove('top_p')
            data__topp = data['top_p']
            if not isinstance(data__topp, (int, float, NoneType)) or isinstance(data__topp, bool):
                raise SchemaError(name_prefix + '.top_p', 'type', 'must be a number.')
            if isinstance(data__topp, (int, float)) and (not isinstance(data__topp, bool)):
                if data__topp < 0:
                    raise SchemaError(name_prefix + '.top_p', 'minimum', 'must be between 0 and 1.')
                if data__topp > 1:
                    raise SchemaError(name_prefix + '.top_p', 'maximum', 'must be between 0 and 1.')
        if 'top_k' in data_keys:
            data_keys.remove('top_k')
            data__topk = data['top_k']
            if not isinstance(data__topk, (int, NoneType)) or isinstance(data__topk, bool):
                raise SchemaError(name_prefix + '.top_k', 'type', 'must be a whole number.')
            if isinstance(data__topk, (int, float)) and (not isinstance(data__topk, bool)):
                if data__topk < 0:
                    raise SchemaError(name_prefix + '.top_k', 'minimum', 'must be 0 or more.')
        if 'stop_sequences' in data_keys:
            data_keys.remove('stop_sequences')
            data__stopsequences = data['stop_sequences']
            if not isinstance(data__stopsequences, (list, NoneType)):
                raise SchemaError(name_prefix + '.stop_sequences', 'type', 'must be a list.')
            data__stopsequences_is_list = isinstance(data__stopsequences, list)
            if data__stopsequences_is_list:
                data__stopsequences_len = len(data__stopsequences)
                for data__stopsequences_x, data__stopsequences_item in enumerate(data__stopsequences):
                    if not isinstance(data__stopsequences_item, str):
                        raise SchemaError(name_prefix + f'.stop_sequences[{data__stopsequences_x}]', 'type', 'must be a string.')
        if 'stream' in data_keys:
            data_keys.remove('stream')
            data__stream = data['stream']
            if not isinstance(data__stream, (bool, NoneType)):
                raise SchemaError(name_prefix + '.stream', 'type', 'must be true or false.')
        if 'tools' in data_keys:
            data_keys.remove('tools')
            data__tools = data['tools']
            if not isinstance(data__tools, (list, NoneType)):
                raise SchemaError(name_prefix + '.tools', 'type', 'must be a list.')
            data__tools_is_list = isinstance(data__tools, list)
            if data__tools_is_list:
                data__tools_len = len(data__tools)
                for data__tools_x, data__tools_item in enumerate(data__tools):
                    _message_tool(data__tools_item, name_prefix + f'.tools[{data__tools_x}]')
        if 'tool_choice' in data_keys:
            data_keys.remove('tool_choice')
            data__toolchoice = data['tool_choice']
            _message_tool_choice_or_null(data__toolchoice, name_prefix + '.tool_choice')
        if 'thinking' in data_keys:
            data_keys.remove('thinking')
            data__thinking = data['thinking']
            _message_thinking_or_null(data__thinking, name_prefix + '.thinking')
        if 'output_config' in data_keys:
            data_keys.remove('output_config')
            data__outputconfig = data['output_config']
            if not isinstance(data__outputconfig, (dict, NoneType)):
                raise SchemaError(name_prefix + '.output_config', 'type', 'must be an object.')
        if 'output_format' in data_keys:
            data_keys.remove('output_format')
            data__outputformat = data['output_format']
            if not isinstance(data__outputformat, (dict, NoneType)):
                raise SchemaError(name_prefix + '.output_format', 'type', 'must be an object.')
        if 'context_management' in data_keys:
            data_keys.remove('context_management')
            data__contextmanagement = data['context_management']
            if not isinstance(data__contextmanagement, (dict, NoneType)):
                raise SchemaError(name_prefix + '.context_management', 'type', 'must be an object.')
        if 'cache_control' in data_keys:
            data_keys.remove('cache_control')
            data__cachecontrol = data['cache_control']
            if not isinstance(data__cachecontrol, (dict, NoneType)):
                raise SchemaError(name_prefix + '.cache_control', 'type', 'must be an object.')
        if 'speed' in data_keys:
            data_keys.remove('speed')
            data__speed = data['speed']
            if not isinstance(data__speed, (str, NoneType)):
                raise SchemaError(name_prefix + '.speed', 'type', 'must be a string.')
        if 'diagnostics' in data_keys:
            data_keys.remove('diagnostics')
            data__diagnostics = data['diagnostics']
            if not isinstance(data__diagnostics, (dict, NoneType)):
                raise SchemaError(name_prefix + '.diagnostics', 'type', 'must be an object.')
        if 'fallbacks' in data_keys:
            data_keys.remove('fallbacks')
            data__fallbacks = data['fallbacks']
            if not isinstance(data__fallbacks, (list, NoneType)):
                raise SchemaError(name_prefix + '.fallbacks', 'type', 'must be a list.')
            data__fallbacks_is_list = isinstance(data__fallbacks, list)
            if data__fallbacks_is_list:
                data__fallbacks_len = len(data__fallbacks)
                for data__fallbacks_x, data__fallbacks_item in enumerate(data__fallbacks):
                    if not isinstance(data__fallbacks_item, dict):
                        raise SchemaError(name_prefix + f'.fallbacks[{data__fallbacks_x}]', 'type', 'must be an object.')
        if 'service_tier' in data_keys:
            data_keys.remove('service_tier')
            data__servicetier = data['service_tier']
            if not isinstance(data__servicetier, (str, NoneType)):
                raise SchemaError(name_prefix + '.service_tier', 'type', 'must be a string.')
            if not (isinstance(data__servicetier, str) and data__servicetier == 'auto' or (isinstance(data__servicetier, str) and data__servicetier == 'standard_only') or (isinstance(data__servicetier, str) and data__servicetier == 'default') or (isinstance(data__servicetier, str) and data__servicetier == 'priority') or (isinstance(data__servicetier, str) and data__servicetier == 'flex') or (isinstance(data__servicetier, str) and data__servicetier == 'reserved') or (data__servicetier is None)):
                raise SchemaError(name_prefix + '.service_tier', 'enum', 'must be one of auto, standard_only, default, priority, flex, reserved.')
        if 'metadata' in data_keys:
            data_keys.remove('metadata')
            data__metadata = data['metadata']
            _message_metadata_or_null(data__metadata, name_prefix + '.metadata')


def _model_body(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')


def _response_reasoning_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'effort' in data_keys:
            data_keys.remove('effort')
            data__effort = data['effort']
            if not isinstance(data__effort, (str, NoneType)):
                raise SchemaError(name_prefix + '.effort', 'type', 'must be a string.')
            if isinstance(data__effort, str):
                data__effort_len = len(data__effort)
                if data__effort_len > 16:
                    raise SchemaError(name_prefix + '.effort', 'maxLength', 'must have 16 characters or fewer.')


def _response_request(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['model', 'input']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['model', 'input'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'model' in data_keys:
            data_keys.remove('model')
            data__model = data['model']
            if not isinstance(data__model, str):
                raise SchemaError(name_prefix + '.model', 'type', 'must be a string.')
            if isinstance(data__model, str):
                data__model_len = len(data__model)
                if data__model_len < 1:
                    raise SchemaError(name_prefix + '.model', 'minLength', 'must not be empty.')
                if data__model_len > 2048:
                    raise SchemaError(name_prefix + '.model', 'maxLength', 'must have 2048 characters or fewer.')
        if 'input' in data_keys:
            data_keys.remove('input')
            data__input = data['input']
        if 'instructions' in data_keys:
            data_keys.remove('instructions')
            data__instructions = data['instructions']
            if not isinstance(data__instructions, (str, NoneType)):
                raise SchemaError(name_prefix + '.instructions', 'type', 'must be a string.')
        if 'max_output_tokens' in data_keys:
            data_keys.remove('max_output_tokens')
            data__maxoutputtokens = data['max_output_tokens']
            if not isinstance(data__maxoutputtokens, (int, NoneType)) or isinstance(data__maxoutputtokens, bool):
                raise SchemaError(name_prefix + '.max_output_tokens', 'type', 'must be a positive integer.')
            if isinstance(data__maxoutputtokens, (int, float)) and (not isinstance(data__maxoutputtokens, bool)):
                if data__maxoutputtokens < 1:
                    raise SchemaError(name_prefix + '.max_output_tokens', 'minimum', 'must be a positive integer.')
        if 'tools' in data_keys:
            data_keys.remove('tools')
            data__tools = data['tools']
            if not isinstance(data__tools, (list, NoneType)):
                raise SchemaError(name_prefix + '.tools', 'type', 'must be a list.')
            data__tools_is_list = isinstance(data__tools, list)
            if data__tools_is_list:
                data__tools_len = len(data__tools)
                for data__tools_x, data__tools_item in enumerate(data__tools):
                    _response_tool(data__tools_item, name_prefix + f'.tools[{data__tools_x}]')
        if 'tool_choice' in data_keys:
            data_keys.remove('tool_choice')
            data__toolchoice = data['tool_choice']
        if 'parallel_tool_calls' in data_keys:
            data_keys.remove('parallel_tool_calls')
            data__paralleltoolcalls = data['parallel_tool_calls']
            if not isinstance(data__paralleltoolcalls, (bool, NoneType)):
                raise SchemaError(name_prefix + '.parallel_tool_calls', 'type', 'must be true or false.')
        if 'temperature' in data_keys:
            data_keys.remove('temperature')
            data__temperature = data['temperature']
            if not isinstance(data__temperature, (int, float, NoneType)) or isinstance(data__temperature, bool):
                raise SchemaError(name_prefix + '.temperature', 'type', 'must be a number.')
            if isinstance(data__temperature, (int, float)) and (not isinstance(data__temperature, bool)):
                if data__temperature < 0:
                    raise SchemaError(name_prefix + '.temperature', 'minimum', 'must be between 0 and 2.')
                if data__temperature > 2:
                    raise SchemaError(name_prefix + '.temperature', 'maximum', 'must be between 0 and 2.')
        if 'top_p' in data_keys:
            data_keys.remove('top_p')
            data__topp = data['top_p']
            if not isinstance(data__topp, (int, float, NoneType)) or isinstance(data__topp, bool):
                raise SchemaError(name_prefix + '.top_p', 'type', 'must be a number.')
            if isinstance(data__topp, (int, float)) and (not isinstance(data__topp, bool)):
                if data__topp < 0:
                    raise SchemaError(name_prefix + '.top_p', 'minimum', 'must be between 0 and 1.')
                if data__topp > 1:
                    raise SchemaError(name_prefix + '.top_p', 'maximum', 'must be between 0 and 1.')
        if 'text' in data_keys:
            data_keys.remove('text')
            data__text = data['text']
            _response_text_or_null(data__text, name_prefix + '.text')
        if 'reasoning' in data_keys:
            data_keys.remove('reasoning')
            data__reasoning = data['reasoning']
            _response_reasoning_or_null(data__reasoning, name_prefix + '.reasoning')
        if 'stream' in data_keys:
            data_keys.remove('stream')
            data__stream = data['stream']
            if not isinstance(data__stream, (bool, NoneType)):
                raise SchemaError(name_prefix + '.stream', 'type', 'must be true or false.')
        if 'store' in data_keys:
            data_keys.remove('store')
            data__store = data['store']
            if not isinstance(data__store, (bool, NoneType)):
                raise SchemaError(name_prefix + '.store', 'type', 'must be true or false.')
        if 'service_tier' in data_keys:
            data_keys.remove('service_tier')
            data__servicetier = data['service_tier']
            if not isinstance(data__servicetier, (str, NoneType)):
                raise SchemaError(name_prefix + '.service_tier', 'type', 'must be a string.')
            if not (isinstance(data__servicetier, str) and data__servicetier == 'auto' or (isinstance(data__servicetier, str) and data__servicetier == 'default') or (isinstance(data__servicetier, str) and data__servicetier == 'flex') or (isinstance(data__servicetier, str) and data__servicetier == 'priority') or (data__servicetier is None)):
                raise SchemaError(name_prefix + '.service_tier', 'enum', 'must be one of auto, default, flex, priority.')
        if 'user' in data_keys:
            data_keys.remove('user')
            data__user = data['user']
            if not isinstance(data__user, (str, NoneType)):
                raise SchemaError(name_prefix + '.user', 'type', 'must be a string.')
        if 'safety_identifier' in data_keys:
            data_keys.remove('safety_identifier')
            data__safetyidentifier = data['safety_identifier']
            if not isinstance(data__safetyidentifier, (str, NoneType)):
                raise SchemaError(name_prefix + '.safety_identifier', 'type', 'must be a string.')
        if 'metadata' in data_keys:
            data_keys.remove('metadata')
            data__metadata = data['metadata']
            if not isinstance(data__metadata, (dict, NoneType)):
                raise SchemaError(name_prefix + '.metadata', 'type', 'must be an object.')


def _response_text_format_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['type']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['type'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, str):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if not (isinstance(data__type, str) and data__type == 'text' or (isinstance(data__type, str) and data__type == 'json_object') or (isinstance(data__type, str) and data__type == 'json_schema')):
                raise SchemaError(name_prefix + '.type', 'enum', 'must be one of text, json_object, json_schema.')
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, (str, NoneType)):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
        if 'description' in data_keys:
            data_keys.remove('description')
            data__description = data['description']
            if not isinstance(data__description, (str, NoneType)):
                raise SchemaError(name_prefix + '.description', 'type', 'must be a string.')
        if 'schema' in data_keys:
            data_keys.remove('schema')
            data__schema = data['schema']
            if not isinstance(data__schema, (dict, NoneType)):
                raise SchemaError(name_prefix + '.schema', 'type', 'must be an object.')
        if 'strict' in data_keys:
            data_keys.remove('strict')
            data__strict = data['strict']
            if not isinstance(data__strict, (bool, NoneType)):
                raise SchemaError(name_prefix + '.strict', 'type', 'must be true or false.')


def _response_text_or_null(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, (dict, NoneType)):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data_keys = set(data.keys())
        if 'format' in data_keys:
            data_keys.remove('format')
            data__format = data['format']
            _response_text_format_or_null(data__format, name_prefix + '.format')


def _response_tool(data: Any, name_prefix: str='') -> None:
    if not isinstance(data, dict):
        raise SchemaError(name_prefix, 'type', 'must be an object.')
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['type']) - data.keys()
        if data__missing_keys:
            raise SchemaError(name_prefix + ('.' + min(data__missing_keys, key=['type'].index)), 'required', 'is missing.')
        data_keys = set(data.keys())
        if 'type' in data_keys:
            data_keys.remove('type')
            data__type = data['type']
            if not isinstance(data__type, str):
                raise SchemaError(name_prefix + '.type', 'type', 'must be a string.')
            if isinstance(data__type, str):
                data__type_len = len(data__type)
                if data__type_len < 1:
                    raise SchemaError(name_prefix + '.type', 'minLength', 'must not be empty.')
                if data__type_len > 64:
                    raise SchemaError(name_prefix + '.type', 'maxLength', 'must have 64 characters or fewer.')
        if 'name' in data_keys:
            data_keys.remove('name')
            data__name = data['name']
            if not isinstance(data__name, (str, NoneType)):
                raise SchemaError(name_prefix + '.name', 'type', 'must be a string.')
            if isinstance(data__name, str):
                data__name_len = len(data__name)
                if data__name_len < 1:
                    raise SchemaError(name_prefix + '.name', 'minLength', 'must not be empty.')
        if 'description' in data_keys:
            data_keys.remove('description')
            data__description = data['description']
            if not isinstance(data__description, (str, NoneType)):
                raise SchemaError(name_prefix + '.description', 'type', 'must be a string.')
        if 'parameters' in data_keys:
            data_keys.remove('parameters')
            data__parameters = data['parameters']
            if not isinstance(data__parameters, (dict, NoneType)):
                raise SchemaError(name_prefix + '.parameters', 'type', 'must be an object.')
        if 'strict' in data_keys:
            data_keys.remove('strict')
            data__strict = data['strict']
            if not isinstance(data__strict, (bool, NoneType)):
                raise SchemaError(name_prefix + '.strict', 'type', 'must be true or false.')
        if 'tools' in data_keys:
            data_keys.remove('tools')
            data__tools = data['tools']
            if not isinstance(data__tools, (list, NoneType)):
                raise SchemaError(name_prefix + '.tools', 'type', 'must be a list.')
            data__tools_is_list = isinstance(data__tools, list)
            if data__tools_is_list:
                data__tools_len = len(data__tools)
                for data__tools_x, data__tools_item in enumerate(data__tools):
                    if not isinstance(data__tools_item, dict):
                        raise SchemaError(name_prefix + f'.tools[{data__tools_x}]', 'type', 'must be an object.')


stream_model = _invoke_model_request
create_chat_completion = _chat_completion_request
create_embeddings = _embeddings_request
create_response = _response_request
create_message = _messages_request
count_message_tokens = _count_message_tokens_request
converse = _converse_request
converse_stream = _converse_request
invoke_bedrock_model = _model_body
invoke_bedrock_model_with_response_stream = _model_body
count_tokens = _count_tokens_request


BY_OPERATION: dict[str, Callable[[Any], None]] = {
    "streamModel": stream_model,
    "createChatCompletion": create_chat_completion,
    "createEmbeddings": create_embeddings,
    "createResponse": create_response,
    "createMessage": create_message,
    "countMessageTokens": count_message_tokens,
    "converse": converse,
    "converseStream": converse_stream,
    "invokeBedrockModel": invoke_bedrock_model,
    "invokeBedrockModelWithResponseStream": invoke_bedrock_model_with_response_stream,
    "countTokens": count_tokens,
}
