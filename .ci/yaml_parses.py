"""Whether the YAML files given parse, and no key stands in them twice. `python .ci/yaml_parses.py FILE ...`"""

import sys

import yaml


class Unique(yaml.SafeLoader):
    """YAML in which a key given twice is an error."""


def mapping(loader, node, deep=False):
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"the key `{twice[0]}` is given twice", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Unique.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)

failed = False
for path in sys.argv[1:]:
    try:
        with open(path, encoding="utf-8") as file:
            list(yaml.load_all(file, Loader=Unique))
    except yaml.YAMLError as error:
        failed = True
        print(f"{path}: {error}")
sys.exit(failed)
