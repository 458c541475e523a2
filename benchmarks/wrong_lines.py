"""The command lines of `wrong_commands.py`. Files that they name are made by its `prepare`."""

STARTS = {
    "evaluate": "evaluate digits_cnn --weights w.safetensors --data digits --limit 8 --suite clean",
    "quantize": "quantize digits_cnn --weights w.safetensors --data digits -o new.safetensors",
    "train": "train standard:epochs=1 digits_cnn --data digits --limit 80 -o new",
    "report": "report runs.db",
    "export": "export runs.db -o new.csv",
    "list": "list",
    "demo": "demo",
}
"""What each line begins with; a line that begins with ! is complete."""

LONG = "x" * 900

LINES = {
    "evaluate": f"""
        --weights nowhere.safetensors
        --weights folder
        --weights text.db
        --weights torn.safetensors
        --weights q.safetensors --scheme w8a8
        --weights other.safetensors
        --data cifar11:.
        --data cifar10:nowhere
        --data cifar10
        --data cifar10:w.safetensors
        --data folder:one
        --data folder:empty
        --data folder:three
        --data digits:,size=3
        --data imagenet:three,size=0
        --data imagenet:three,size=-1
        --data imagenet:three,size={"9" * 5000}
        --data ''
        --split validation
        --limit 0
        --limit -5
        --limit many
        --limit {"9" * 400}x
        --seed 99999999999999999999999
        --seed 1.5
        --batch-size 0
        --batch-size -1
        --workers -1
        --workers 99999
        --jobs 0
        --jobs 99999
        --classes 0
        --classes 1
        --classes -3
        --classes 99999999999
        --classes 5
        --crafting quick
        --calibration-count 0 --scheme w8a8
        --calibration-count -1 --scheme w8a8
        --calibration-data cifar10:nowhere --scheme w8a8
        --calibration-data folder:ten,size=32 --scheme w8a8
        --suite quik
        --suite released:nowhere
        --suite released:empty
        --suite ''
        --ptq nearest
        --ptq brec --scheme w8a8
        --ptq nearest:rounding=x --scheme w8a8
        --ptq brecq:iterations=0 --scheme w8a8
        --ptq brecq:iterations=-5 --scheme w8a8
        --ptq nearest:equalize=true,fold=false --scheme w8a8
        --scheme afine:w4a4
        --scheme w4
        --scheme w0a0
        --scheme w99a99
        --scheme xnor:w4a4
        --scheme affine:w4a4,layers=x
        --scheme affine:w4a4,layers=nothing=w8a8
        --scheme affine:w4a4,granularity=pixel
        --scheme affine:w4a4,first=x
        --scheme affine:w4a4,first=8bit,first=same
        --scheme w4a4 --scheme affine:w4a4
        --scheme ''
        --scheme {LONG}
        --condition pdg
        --condition pgd:eps=8
        --condition pgd:eps=-1
        --condition pgd:eps=nan
        --condition pgd:eps=1/0
        --condition pgd:steps=0
        --condition pgd:steps=1.5
        --condition pgd:step=3
        --condition pgd:norm=l3
        --condition pgd(eps=2/255
        --condition 'pgd:eps=2/255)'
        --condition pgd:eps=2/255,eps=3/255
        --condition 'eot:attack=(eps=1)'
        --condition 'eot:attack=eot(attack=eot)'
        --condition eot
        --condition eot:attack=pdg,draws=0
        --condition crafted
        --condition 'crafted:attack=pgd,targets=nobody'
        --condition 'crafted:attack=pgd,targets={"9" * 5000}'
        --condition 'crafted:attack=pgd,source=nobody'
        --condition jpeg:severity=9
        --condition jpeg:severity=0
        --condition jpeg:profile=large
        --condition pipeline:decoder=nothing
        --condition pipeline:resize=nothing
        --condition {LONG}
        --condition {"(" * 60}
        --condition ''
        --transfer pdg
        --transfer jpeg
        --transfer 'crafted:attack=pgd,targets=next'
        --store nowhere/runs.db
        --store text.db
        --store foreign.db
        --store folder
        --store w.safetensors
        --store /proc/runs.db
        --report nowhere/r.html
        --report folder
        --report /proc/r.html
        --report /dev/null
        --report runs.db
        --report link.html --store runs.db
        --report hard.html --store runs.db
        --report folder/../runs.db --store runs.db
        --report runs.db-wal --store runs.db
        --report new.db --store new.db
        --report folder/../new.db --store new.db
        --report w.safetensors
        --report three/a/0.png --data folder:three
        --report nowhere/r.html --scheme w4a4 --ptq brecq:iterations=100000
        --store text.db --scheme w4a4 --ptq brecq:iterations=100000
        --condition pdg --scheme w4a4 --ptq brecq:iterations=100000
        --onnx nowhere.onnx --scheme w4a4 --ptq brecq:iterations=100000
        --onnx text.db
        --onnx folder
        --colour
        --scheme
        ! evaluate
        ! evaluate digits_cnn
        ! evaluate --data digits
        ! evaluate resnet2000 --data digits
        ! evaluate {LONG} --data digits
        ! evaluate nowhere.onnx --data digits
        ! evaluate text.db.onnx --data digits --classes 10
        ! evaluate timm:resnet1 --data digits
        ! evaluate timm: --data digits
        ! evaluate keras:resnet50 --data digits
        ! evaluate timm:vit_tiny_patch16_224 --data folder:ten,size=160 --suite clean
        ! evaluate timm:vit_tiny_patch16_224 --data folder:ten,size=32 --suite clean
        ! evaluate torchvision:vit_b_16 --data folder:ten,size=32 --suite clean
        ! evaluate resnet20 --data digits --suite clean
        ! evaluate digits_cnn --data folder:ten,size=20 --suite clean
        ! evaluate resnet20 --data folder:eleven,size=32 --suite clean
        ! evaluate resnet20 --data folder:three,size=32 --suite clean
        ! evaluate resnet20 --data folder:ten,size=32 --scheme w8a8 --suite clean
    """,
    "quantize": f"""
        -o new.pt
        -o nowhere/new.safetensors
        -o folder
        -o w.safetensors
        -o wlink.safetensors
        -o whard.safetensors
        -o folder/../w.safetensors
        -o /proc/new.safetensors
        -o nowhere/new.safetensors --ptq brecq:iterations=100000
        -o new.pt --ptq brecq:iterations=100000
        --scheme afine:w8a8
        --scheme w8a8,colour=red
        --scheme {LONG}
        --ptq brec
        --ptq nearest:rounding=x
        --ptq nearest:iterations=x
        --weights nowhere.safetensors
        --weights q.safetensors --scheme w8a8
        --data cifar10:nowhere
        --data folder:one
        --data folder:ten,size=20
        --calibration-count 0
        --calibration-count x
        --classes 0
        --onnx new.pt
        --onnx nowhere/new.onnx
        --onnx folder
        --onnx w.safetensors
        --onnx nowhere/new.onnx --ptq brecq:iterations=100000
        ! quantize digits_cnn --weights w.safetensors -o new.safetensors
        ! quantize digits_cnn --weights w.safetensors -o new.safetensors --ptq brecq --scheme w8a32
        ! quantize digits_cnn --weights w.safetensors -o new.safetensors --scheme w8a32 --onnx new.onnx
        ! quantize digits_cnn
        ! quantize resnet2000 -o new.safetensors --data digits
        ! quantize text.db.onnx -o new.safetensors --data digits
        ! quantize resnet20 -o new.safetensors --data digits
    """,
    "train": f"""
        --scheme w4a4
        --seed {2**70}
        --seed x
        --limit 0
        --limit 1
        --classes 0
        --classes 5
        --weights nowhere.safetensors
        --weights q.safetensors --data digits --scheme w4a4
        --data cifar10:nowhere
        --data folder:one
        --data folder:three
        -o w.safetensors
        -o w.safetensors/new
        -o /proc/new
        -o link.html
        ! train standrad digits_cnn --data digits -o new
        ! train {LONG} digits_cnn --data digits -o new
        ! train standard:epochs=0 digits_cnn --data digits -o new
        ! train standard:epochs=-1 digits_cnn --data digits -o new
        ! train standard:epoch=3 digits_cnn --data digits -o new
        ! train standard:epochs=3,epochs=4 digits_cnn --data digits -o new
        ! train standard:batch_size=1 digits_cnn --data digits -o new
        ! train standard:learning_rate=0 digits_cnn --data digits -o new
        ! train standard:learning_rate=-1 digits_cnn --data digits -o new
        ! train standard:learning_rate=nan digits_cnn --data digits -o new
        ! train standard:learning_rate=1e30 digits_cnn --data digits -o new
        ! train standard:momentum=9 digits_cnn --data digits -o new
        ! train standard:weight_decay=-1 digits_cnn --data digits -o new
        ! train standard:weight_decay=inf digits_cnn --data digits -o new
        ! train standard:decay=0 digits_cnn --data digits -o new
        ! train standard:optimizer=lion digits_cnn --data digits -o new
        ! train standard:schedule=never digits_cnn --data digits -o new
        ! train standard:milestones=0.5+0.3 digits_cnn --data digits -o new
        ! train standard:averaging=1 digits_cnn --data digits -o new
        ! train standard:averaging=nan digits_cnn --data digits -o new
        ! train standard:holdout=-1 digits_cnn --data digits -o new
        ! train standard:holdout=99999 digits_cnn --data digits -o new
        ! train standard:augmentation=spin digits_cnn --data digits -o new
        ! train standard:precision=int4 digits_cnn --data digits -o new
        ! train 'standard:objective=(weight=1)' digits_cnn --data digits -o new
        ! train qat:temperature=0,distillation=0.5 digits_cnn --data digits -o new
        ! train qat:temperature=nan,distillation=0.5 digits_cnn --data digits -o new
        ! train qat:distillation=2 digits_cnn --data digits -o new
        ! train qat:penalty=-1 digits_cnn --data digits -o new
        ! train qat:calibration=0 digits_cnn --data digits -o new
        ! train qat:calibration=-1 digits_cnn --data digits -o new
        ! train qat:scheme=w4 digits_cnn --data digits -o new
        ! train qat digits_cnn --data digits --scheme afine:w4a4 -o new
        ! train qat digits_cnn --weights q.safetensors --data digits -o new
        ! train standard:epochs=1 digits_cnn --data digits
        ! train standard:epochs=1 resnet2000 --data digits -o new
        ! train standard:epochs=1 resnet20 --data digits -o new
        ! train standard:epochs=1 resnet20 --data folder:eleven,size=32 -o new
        ! train standard:epochs=1 resnet20 --data folder:three,size=32 -o new
        ! train standard:epochs=1 text.db.onnx --data digits -o new
        ! train standard:epochs=1 digits_cnn --data digits --limit 60 -o run
        ! train standard:epochs=1 digits_cnn --data digits --weights run/last.safetensors -o run
        ! train standard:epochs=1 digits_cnn --data digits --weights run/best.safetensors -o folder/../run
    """,
    "report": """
        -o runs.db
        -o link.html
        -o hard.html
        -o ./runs.db
        -o folder
        -o nowhere/r.html
        -o /proc/r.html
        -o /dev/null
        -o foreign.db
        --reference nobody
        --reference ''
        ! report nowhere.db
        ! report folder
        ! report text.db
        ! report foreign.db
        ! report empty.db
        ! report none.db -o new.html
        ! report runs.db runs.db
        ! report
    """,
    "export": """
        -o runs.db
        -o new.xlsx
        -o new
        -o nowhere/new.csv
        -o /proc/new.json
        -o link.csv
        -o hard.csv
        -o folder.csv
        ! export nowhere.db -o new.csv
        ! export text.db -o new.csv
        ! export foreign.db -o new.csv
        ! export folder -o new.csv
        ! export runs.db
        ! export runs.csv -o runs.csv
    """,
    "list": """
        modles
        made
        made --store nowhere/runs.db
        --store nowhere.db
        models schemes
        ! lists
        ! --colour
    """,
    "demo": """
        --report nowhere/r.html
        --report folder
        --report /proc/r.html
        --report runs.db
        --report link.html --store runs.db
        --report new.db --store new.db
        --report new.db-wal --store new.db
        --store nowhere/runs.db
        --store text.db
        --store foreign.db
        --store folder
        --colour
        digits
    """,
}

TEXTS = {
    "evaluate": (
        "--condition pgd:eps=2/255,steps=3,norm=l2",
        "--condition jpeg:severity=3",
        "--condition eot:attack=pgd(eps=2/255),draws=2",
        "--scheme lsq:w4a4,first=same",
        "--scheme affine:w4a4,granularity=tensor",
        "--ptq brecq:iterations=20,fisher=true --scheme w8a8",
        "--suite robustmq-small",
        "--data digits",
        "--crafting folded",
    ),
    "train": ("!train qat:epochs=3,holdout=8,optimizer=adam digits_cnn --data digits -o new",),
    "list": ("suites",),
}
"""Valid texts; a letter that no name, number or bracket has makes each of them wrong, wherever it stands."""

SPOILT = 4
"""Times that each of them is spoilt."""
